"""What a suite consists of."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from brikk_cli.failures import CommandError
from brikk_cli.home import Home
from brikk_cli.keys import Keys, make_keys
from brikk_cli.plan import SERVICES, WORKERS, client_document, service_specs, valkey_spec
from brikk_cli.ports import Ports
from brikk_cli.suite import Suite


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.keys.mkdir(parents=True)
    return home


@pytest.fixture
def keys(home: Home) -> Keys:
    return make_keys(home.keys)


def environments(
    home: Home, keys: Keys, database_url: str | None = None, **overrides: str
) -> dict[str, dict[str, str]]:
    specs = service_specs(
        home,
        keys,
        Ports(),
        database_url=database_url,
        workers=False,
        log_level="info",
        overrides=overrides,
    )
    return {name: dict(spec.environment) for name, spec in specs.items()}


def test_each_service_is_a_process_of_this_python(home: Home, keys: Keys) -> None:
    specs = service_specs(
        home, keys, Ports(), database_url=None, workers=False, log_level="info", overrides={}
    )
    assert tuple(specs) == SERVICES
    assert specs["workflow"].command == [sys.executable, "-P", "-m", "brikk_workflow.app"]


def test_workers_and_their_service_are_told_the_same(home: Home, keys: Keys) -> None:
    url = "postgresql://db/{service}"
    specs = service_specs(
        home, keys, Ports(), database_url=url, workers=True, log_level="info", overrides={}
    )
    assert tuple(specs) == (*SERVICES, *WORKERS)
    for name in WORKERS:
        service = name.removesuffix("-worker")
        spec = specs[name]
        assert spec.command == [sys.executable, "-P", "-m", f"brikk_{service}.worker"]
        assert spec.environment == specs[service].environment
        broker = spec.environment[f"BRIKK_{service.upper()}_BROKER_URL"]
        assert broker.endswith("@127.0.0.1:7430/1")


async def test_workers_are_refused_where_the_store_serves_one_process(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="Celery workers need PostgreSQL"):
        async with Suite(tmp_path / "home", workers=True):
            pass
    assert not (tmp_path / "home").exists()


def test_services_know_one_another_and_no_more(home: Home, keys: Keys) -> None:
    given = environments(home, keys)
    assert given["workflow"]["BRIKK_WORKFLOW_DISCOVERY_ADDRESS"] == "127.0.0.1:7411"
    assert given["discovery"]["BRIKK_DISCOVERY_WEBHOOKS_ADDRESS"] == "127.0.0.1:7413"
    assert given["workflow"]["BRIKK_WORKFLOW_MONITORING_ADDRESS"] == "127.0.0.1:7414"
    assert given["monitoring"]["BRIKK_MONITORING_HTTP_LISTEN"] == "127.0.0.1:7424"
    for service, settings in given.items():
        assert all(name.startswith(f"BRIKK_{service.upper()}_") for name in settings)
        assert ("BRIKK_WORKFLOW_CALL_KEY" in settings) == (service == "workflow")


def test_data_is_kept_in_the_home_or_where_the_user_says(home: Home, keys: Keys) -> None:
    local = environments(home, keys)["webhooks"]
    assert local["BRIKK_WEBHOOKS_DATABASE_URL"] == f"sqlite:///{home.path}/data/webhooks.db"
    given = environments(home, keys, "postgresql://me@db/brikk_{service}")["webhooks"]
    assert given["BRIKK_WEBHOOKS_DATABASE_URL"] == "postgresql://me@db/brikk_webhooks"


def test_the_suite_may_call_the_machine_it_runs_on_and_no_other(home: Home, keys: Keys) -> None:
    given = environments(home, keys)
    for service in ("discovery", "workflow", "webhooks"):
        allowed = given[service][f"BRIKK_{service.upper()}_EGRESS_ALLOWED"]
        assert json.loads(allowed) == ["127.0.0.0/8", "::1/128"]


def test_overrides_win(home: Home, keys: Keys) -> None:
    given = environments(home, keys, BRIKK_WORKFLOW_LOG_LEVEL="debug")
    assert given["workflow"]["BRIKK_WORKFLOW_LOG_LEVEL"] == "debug"


def test_secrets_stand_in_files_not_in_arguments(home: Home, keys: Keys) -> None:
    """Anybody on a machine may read the arguments of its processes."""
    arguments = " ".join(valkey_spec(home, keys, Ports()).command)
    assert keys.valkey_password() not in arguments
    assert str(keys.valkey) in arguments


def test_clients_learn_where_and_with_what(keys: Keys) -> None:
    document = client_document(keys, Ports(), "a-token")
    assert document["monitoring"] == "127.0.0.1:7414"
    assert document["token"] == "a-token"
    assert document["organization"] == "local"
    assert json.loads(Path(document["call_jwks"]).read_text())["keys"]

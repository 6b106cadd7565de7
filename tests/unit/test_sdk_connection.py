from __future__ import annotations

import json
from pathlib import Path

import pytest

from brikk_agent import Connection, NotConnected

STORED = {
    "discovery": "127.0.0.1:7411",
    "workflow": "127.0.0.1:7412",
    "webhooks": "127.0.0.1:7413",
    "monitoring": "127.0.0.1:7414",
    "token": "stored",
    "call_jwks": "/keys.json",
    "organization": "local",
}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "client.json").write_text(json.dumps(STORED))
    return tmp_path


def test_client_json_says_everything(home: Path) -> None:
    connection = Connection.load({"BRIKK_HOME": str(home)})
    assert connection.address("webhooks") == "127.0.0.1:7413"
    assert connection.token == "stored"
    assert connection.call_jwks == "/keys.json"
    assert connection.organization == "local"
    assert "stored" not in repr(connection)


def test_the_environment_takes_precedence(home: Path) -> None:
    connection = Connection.load(
        {
            "BRIKK_HOME": str(home),
            "BRIKK_WORKFLOW_ADDRESS": "workflow:1",
            "BRIKK_TOKEN": "given",
            "BRIKK_CALL_JWKS": "https://keys",
        }
    )
    assert connection.address("workflow") == "workflow:1"
    assert connection.address("discovery") == "127.0.0.1:7411"
    assert (connection.token, connection.call_jwks) == ("given", "https://keys")


def test_the_environment_is_enough(tmp_path: Path) -> None:
    connection = Connection.load(
        {"BRIKK_HOME": str(tmp_path), "BRIKK_DISCOVERY_ADDRESS": "d:1", "BRIKK_TOKEN": "t"}
    )
    assert connection.address("discovery") == "d:1"
    with pytest.raises(NotConnected, match="BRIKK_MONITORING_ADDRESS"):
        connection.address("monitoring")


def test_what_is_missing_is_said_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(NotConnected, match=r"client\.json.* Run `brikk up`, or set BRIKK_DISC"):
        Connection.load({"BRIKK_HOME": str(tmp_path)})
    connection = Connection(addresses={"discovery": "d:1"})
    with pytest.raises(NotConnected, match="There is no token"):
        connection.channel("discovery")


@pytest.mark.parametrize("content", ["{", "[]", '"x"'])
def test_a_damaged_file_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "client.json").write_text(content)
    with pytest.raises(NotConnected, match=r"client\.json .*brikk up"):
        Connection.load({"BRIKK_HOME": str(tmp_path)})

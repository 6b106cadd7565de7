"""Settings come from the environment, are described, and refuse what is unsafe."""

from __future__ import annotations

import json
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path

import pytest
from pydantic import ValidationError
from pydantic_settings import SettingsConfigDict

from brikk_shared.identity import IssuerSettings
from brikk_shared.settings import CommonSettings, EgressSettings, SqlSettings


class _Settings(SqlSettings, EgressSettings, CommonSettings):
    model_config = SettingsConfigDict(env_prefix="BRIKK_PROBE_")

    database_url: str = "sqlite:///probe.db"


def test_everything_has_a_default_and_a_description() -> None:
    settings = _Settings()
    assert settings.service == "probe"
    assert settings.listen == "127.0.0.1:0"
    for kind in (_Settings, IssuerSettings):
        for name, field in kind.model_fields.items():
            assert field.description or name == "database_url", name


def test_lists_are_read_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    issuer = {"issuer": "https://i", "jwks": "keys.json", "organizations": ["acme"]}
    monkeypatch.setenv("BRIKK_PROBE_ISSUERS", json.dumps([issuer]))
    monkeypatch.setenv("BRIKK_PROBE_SERVICE_KEY", "key.json")
    settings = _Settings()
    assert settings.issuers == [
        IssuerSettings(issuer="https://i", jwks="keys.json", organizations=["acme"])
    ]
    assert settings.service_key == Path("key.json")


def test_networks_are_read_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRIKK_PROBE_EGRESS_ALLOWED", '["10.42.0.0/16", "fd00::/8", "192.0.2.1"]')
    assert _Settings().egress_allowed == [
        ip_network("10.42.0.0/16"),
        ip_network("fd00::/8"),
        ip_network("192.0.2.1/32"),
    ]


@pytest.mark.parametrize("text", ["10.0.0.1/8", "fd00::1/8", "localhost", "10/8", "2130706433", ""])
def test_what_is_no_network_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("BRIKK_PROBE_EGRESS_ALLOWED", json.dumps([text]))
    with pytest.raises(ValidationError, match=r"egress_allowed\.0\n"):
        _Settings()


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("250ms", timedelta(milliseconds=250)),
        ("10s", timedelta(seconds=10)),
        ("1.5m", timedelta(seconds=90)),
        ("2h", timedelta(hours=2)),
        ("1d", timedelta(days=1)),
        ("PT5S", timedelta(seconds=5)),
    ],
)
def test_durations_are_written_as_people_write_them(
    monkeypatch: pytest.MonkeyPatch, text: str, duration: timedelta
) -> None:
    monkeypatch.setenv("BRIKK_PROBE_DRAIN_GRACE", text)
    assert _Settings().drain_grace == duration


@pytest.mark.parametrize("text", ["-5s", "soon", "5 parsecs"])
def test_other_durations_are_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("BRIKK_PROBE_DRAIN_GRACE", text)
    with pytest.raises(ValidationError, match="drain_grace"):
        _Settings()


@pytest.mark.parametrize("listen", ["0.0.0.0:1", "[::]:1", "example.org:1", "10.0.0.1:1"])
def test_plaintext_off_loopback_is_refused(listen: str) -> None:
    with pytest.raises(ValidationError, match="off loopback"):
        _Settings(listen=listen)
    assert _Settings(listen=listen, allow_plaintext=True).listen == listen
    tls = _Settings(listen=listen, tls_certificate=Path("c"), tls_key=Path("k"))
    assert tls.listen == listen


@pytest.mark.parametrize("listen", ["127.0.0.1:1", "127.3.2.1:1", "[::1]:1", "localhost:1"])
def test_plaintext_on_loopback_is_fine(listen: str) -> None:
    assert _Settings(listen=listen).listen == listen


@pytest.mark.parametrize("listen", ["127.0.0.1", ":1", "localhost:http", "localhost:70000", ""])
def test_an_address_is_host_and_port(listen: str) -> None:
    for field in ("listen", "http_listen"):
        with pytest.raises(ValidationError, match="is not host:port"):
            _Settings.model_validate({field: listen})


def test_a_certificate_needs_its_key() -> None:
    with pytest.raises(ValidationError, match="together"):
        _Settings(tls_certificate=Path("c"))

"""The home folder: private, and of one suite at a time; and the keys in it."""

from __future__ import annotations

import json
import os
import stat
from datetime import timedelta
from pathlib import Path

import pytest

from brikk_cli.failures import CommandError
from brikk_cli.home import Home, write_private
from brikk_cli.keys import USER_SCOPES, make_keys, user_token
from brikk_shared.clock import SystemClock
from brikk_shared.identity import IssuerSettings, TokenVerifier


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_home_is_its_owners_alone(tmp_path: Path) -> None:
    home = Home(tmp_path / "deep" / "home")
    with home.occupied():
        make_keys(home.keys)
    assert mode(home.path) == 0o700
    files = [path for path in home.path.rglob("*") if path.is_file()]
    assert {mode(path) for path in files} == {0o600}
    assert len(files) == 9


def test_a_home_that_was_open_is_closed(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with Home(tmp_path).occupied():
        assert mode(tmp_path) == 0o700


def test_a_second_suite_is_refused_and_told_by_whom(tmp_path: Path) -> None:
    with (
        Home(tmp_path).occupied(),
        pytest.raises(CommandError, match=rf"already \(process {os.getpid()}\); stop it, or"),
    ):
        Home(tmp_path).occupied().__enter__()
    with Home(tmp_path).occupied():
        pass


def test_a_home_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CommandError, match=r"cannot use .*/file/home as home: Not a directory"):
        Home(tmp_path / "file" / "home").occupied().__enter__()


def test_writing_replaces_a_file_that_others_could_read(tmp_path: Path) -> None:
    path = tmp_path / "client.json"
    path.write_text("old")
    path.chmod(0o644)
    write_private(path, "new")
    assert path.read_text() == "new"
    assert mode(path) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_keys_are_kept(tmp_path: Path) -> None:
    before = make_keys(tmp_path)
    contents = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert make_keys(tmp_path) == before
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == contents


def test_a_damaged_key_is_named(tmp_path: Path) -> None:
    make_keys(tmp_path).user.write_text("{}")
    with pytest.raises(CommandError, match=r"cannot use the key .*/user\.json: "):
        make_keys(tmp_path)


async def test_services_accept_the_users_tokens(tmp_path: Path) -> None:
    keys = make_keys(tmp_path)
    issuers = [IssuerSettings.model_validate(each) for each in json.loads(keys.issuers())]
    verifier = TokenVerifier(issuers, audience="brikk", clock=SystemClock())
    await verifier.start()
    token = user_token(keys.user, organization="acme", lifetime=timedelta(minutes=1))
    identity = await verifier.verify(token)
    assert identity.organization == "acme"
    assert identity.scopes == set(USER_SCOPES)
    assert not identity.internal

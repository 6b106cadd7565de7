"""`brikk keys` replaces the key that seals, loses none, and shows none."""

from __future__ import annotations

import base64
import json
import re
import stat
from pathlib import Path

import typer
from typer.main import get_command
from typer.testing import CliRunner

from brikk_cli.commands.keys import app
from brikk_cli.home import Home
from brikk_cli.keys import make_keys, read_ring

DOCS = (Path(__file__).resolve().parents[2] / "docs" / "security.md").read_text()


def test_each_rotation_adds_a_key_that_seals_and_keeps_the_others(tmp_path: Path) -> None:
    home = Home(tmp_path)
    with home.occupied():
        path = make_keys(home.keys).webhooks_ring
    rings = [read_ring(path)]
    printed = []
    for arguments in (["rotate"], ["rotate", "--json"], ["list"]):
        result = CliRunner().invoke(app, [*arguments, f"--home={tmp_path}"])
        assert result.exit_code == 0
        printed.append(result.stdout)
        rings.append(read_ring(path))
    assert [each.primary for each in rings] == ["k1", "k2", "k3", "k3"]
    assert dict(rings[0].keys).items() <= dict(rings[1].keys).items() <= rings[2].keys.items()
    assert len({*rings[2].keys.values()}) == 3
    assert rings[3] == rings[2]
    assert printed[0] == "k1: opens\nk2: seals and opens\n"
    assert json.loads(printed[1]) == {"primary": "k3", "keys": ["k1", "k2", "k3"]}
    assert printed[2] == "k1: opens\nk2: opens\nk3: seals and opens\n"
    for key in rings[2].keys.values():
        assert base64.b64encode(key).decode() not in "".join(printed)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_is_no_key_ring_is_named(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["rotate", f"--home={tmp_path}"], env={"COLUMNS": "500"})
    assert result.exit_code == 1
    assert f"cannot use the key ring {tmp_path}/keys/webhooks-ring.json" in result.stderr


def test_the_docs_name_every_command() -> None:
    group = get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    assert set(re.findall(r"brikk keys ([a-z]+)", DOCS)) == group.commands.keys()

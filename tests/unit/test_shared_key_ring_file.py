"""A key ring follows its file, and nothing that somebody does to the file loses a secret."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from brikk_shared.crypto import KeyMissing, KeyRing, Place, SealingError, sealed_under
from brikk_shared.key_ring_file import KeyRingFile

PLACE = Place(organization="acme", kind="webhook", id="hook", version=1)
K1, K2 = bytes(range(32)), bytes(32)
OLD = KeyRing(primary="k1", keys={"k1": K1})
NEW = KeyRing(primary="k2", keys={"k1": K1, "k2": K2})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(tmp_path / "ring.json", OLD)


def write(path: Path, ring: KeyRing) -> Path:
    keys = {name: base64.b64encode(key).decode() for name, key in ring.keys.items()}
    path.write_text(json.dumps({"primary": ring.primary, "keys": keys}))
    return path


def test_a_new_primary_key_seals_from_then_on(path: Path) -> None:
    ring = KeyRingFile(path)
    assert ring.primary == "k1"
    before = ring.seal(b"secret", PLACE)
    write(path, NEW)
    after = ring.seal(b"secret", PLACE)
    assert [sealed_under(each) for each in (before, after)] == ["k1", "k2"]
    assert ring.primary == "k2"
    assert ring.names == {"k1", "k2"}
    assert ring.open(before, PLACE) == ring.open(after, PLACE) == b"secret"
    assert sealed_under(ring.renew(before, PLACE)) == "k2"


@pytest.mark.parametrize("method", ["open", "renew"])
def test_what_another_process_sealed_under_a_new_key_is_opened(path: Path, method: str) -> None:
    ring = KeyRingFile(path)
    sealed = NEW.seal(b"secret", PLACE)
    with pytest.raises(KeyMissing):
        getattr(ring, method)(sealed, PLACE)
    write(path, NEW)
    assert getattr(ring, method)(sealed, PLACE)


def test_a_key_that_was_taken_out_too_early_still_opens(path: Path) -> None:
    ring = KeyRingFile(path)
    sealed = ring.seal(b"secret", PLACE)
    write(path, KeyRing(primary="k2", keys={"k2": K2}))
    assert ring.primary == "k2"
    renewed = ring.renew(sealed, PLACE)
    assert KeyRingFile(path).open(renewed, PLACE) == b"secret"


@pytest.mark.parametrize(
    "content",
    [
        "{",
        '{"primary": "k2", "keys": {}}',
        json.dumps({"primary": "k1", "keys": {"k1": base64.b64encode(K2).decode()}}),
        None,
    ],
)
def test_a_file_that_broke_changes_nothing(
    path: Path, content: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    ring = KeyRingFile(path)
    path.unlink() if content is None else path.write_text(content)
    assert ring.open(ring.seal(b"secret", PLACE), PLACE) == b"secret"
    assert ring.primary == "k1"
    write(path, NEW)
    assert ring.primary == "k2"
    for key in (K1, K2):
        assert base64.b64encode(key).decode() not in caplog.text


def test_it_begins_with_a_ring_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        KeyRingFile(tmp_path / "none.json")
    (tmp_path / "ring.json").write_text("{}")
    with pytest.raises(SealingError):
        KeyRingFile(tmp_path / "ring.json")

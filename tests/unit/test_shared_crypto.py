"""Sealed secrets open where they were sealed, under a key of the ring, unaltered, or not at all."""

from __future__ import annotations

import base64
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brikk_shared.crypto import KeyRing, Place, SealingError, sealed_under

RING = KeyRing(primary="k1", keys={"k1": bytes(range(32))})
PLACE = Place(organization="acme", kind="webhook", id="hook", version=1)
SECRET = b"a secret that nobody may read"


@given(plain=st.binary(max_size=200))
def test_opens_what_it_sealed(plain: bytes) -> None:
    assert RING.open(RING.seal(plain, PLACE), PLACE) == plain


def test_the_same_secret_never_looks_the_same() -> None:
    sealed = {RING.seal(SECRET, PLACE) for _ in range(10)}
    assert len(sealed) == 10
    assert not any(SECRET in each for each in sealed)


@pytest.mark.parametrize(
    "other",
    [
        replace(PLACE, organization="other"),
        replace(PLACE, kind="connection"),
        replace(PLACE, id="other"),
        replace(PLACE, version=2),
    ],
)
def test_swapped_rows_fail_closed(other: Place) -> None:
    with pytest.raises(SealingError):
        RING.open(RING.seal(SECRET, PLACE), other)


def test_every_altered_or_missing_byte_is_noticed() -> None:
    sealed = RING.seal(SECRET, PLACE)
    for index in range(len(sealed)):
        altered = bytearray(sealed)
        altered[index] ^= 1
        with pytest.raises(SealingError):
            RING.open(bytes(altered), PLACE)
        with pytest.raises(SealingError):
            RING.open(sealed[:index], PLACE)


def test_a_new_primary_key_leaves_the_old_one_opening() -> None:
    sealed = RING.seal(SECRET, PLACE)
    rotated = KeyRing(primary="k2", keys={**RING.keys, "k2": bytes(32)})
    assert rotated.open(sealed, PLACE) == SECRET
    with pytest.raises(SealingError):
        RING.open(rotated.seal(SECRET, PLACE), PLACE)
    with pytest.raises(SealingError):
        KeyRing(primary="k1", keys={"k1": bytes(32)}).open(sealed, PLACE)


@given(plain=st.binary(max_size=200))
def test_what_is_sealed_anew_opens_under_the_primary_key_alone(plain: bytes) -> None:
    sealed = RING.seal(plain, PLACE)
    assert sealed_under(sealed) == "k1"
    both = KeyRing(primary="k2", keys={**RING.keys, "k2": bytes(32)})
    renewed = both.renew(sealed, PLACE)
    assert sealed_under(renewed) == "k2"
    assert KeyRing(primary="k2", keys={"k2": bytes(32)}).open(renewed, PLACE) == plain


def test_sealing_anew_fails_closed_as_opening_does() -> None:
    sealed = RING.seal(SECRET, PLACE)
    with pytest.raises(SealingError, match="do not belong here"):
        RING.renew(sealed, replace(PLACE, organization="other"))
    with pytest.raises(SealingError, match="'k1', which is not in the key ring"):
        KeyRing(primary="k2", keys={"k2": bytes(32)}).renew(sealed, PLACE)


def test_reads_its_file() -> None:
    key = base64.b64encode(RING.keys["k1"]).decode()
    assert KeyRing.parse(json.dumps({"primary": "k1", "keys": {"k1": key}})) == RING


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"primary": "k1", "keys": []}',
        '{"primary": "k1", "keys": {"k1": 1}}',
        '{"primary": "k1", "keys": {"k1": "not base64"}}',
        '{"primary": "k1", "keys": {"k1": "Y2FuYXJ5"}}',
        '{"primary": "k2", "keys": {"k1": "' + "A" * 43 + '="}}',
    ],
)
def test_refuses_another_file_without_showing_it(text: str) -> None:
    with pytest.raises(SealingError) as refused:
        KeyRing.parse(text)
    assert "Y2FuYXJ5" not in str(refused.value)


def test_keys_are_not_shown() -> None:
    assert repr(RING.keys["k1"]) not in repr(RING)

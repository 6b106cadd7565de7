"""What a payload may hold, and how error texts are made harmless."""

from __future__ import annotations

import math

import pytest
from google.protobuf import struct_pb2
from hypothesis import given
from hypothesis import strategies as st

from brikk_shared.errors import Reason
from brikk_shared.structs import to_value
from brikk_workflow.domain.payload import Json, PayloadRefused, check, scrub

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("aü", max_size=200), inner),
    max_leaves=20,
)


@given(VALUES)
def test_the_size_is_that_of_the_encoded_value(value: Json) -> None:
    message: struct_pb2.Value = to_value(value)
    size = message.ByteSize()
    check(value, "x", max_bytes=size)
    with pytest.raises(PayloadRefused):
        check(value, "x", max_bytes=size - 1)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": [1.0, "x\0"]}, "x.a[1] holds a NUL or half a surrogate pair"),
        ({"a\ud800": 1.0}, "x.a\\ud800 holds a NUL or half a surrogate pair"),
        ("\udfff", "x holds a NUL or half a surrogate pair"),
        ([math.nan], "x[0] is not a finite number"),
        ({"a": -math.inf}, "x.a is not a finite number"),
        ([1 << 54], "x[0] is an integer beyond 2^53: write it as a string"),
    ],
)
def test_refusals(value: Json, message: str) -> None:
    with pytest.raises(PayloadRefused) as refused:
        check(value, "x")
    assert refused.value.message == message
    assert refused.value.reason is Reason.INVALID_FIELD


def test_depth() -> None:
    value: Json = 1.0
    for _ in range(32):
        value = {"a": value}
    check(value, "x")
    for deep in ([value], {"a": value}):
        with pytest.raises(PayloadRefused) as refused:
            check(deep, "x")
        assert refused.value.reason is Reason.PAYLOAD_TOO_LARGE
        assert refused.value.metadata == {"limit": "1048576 bytes, 32 levels"}


def test_a_value_made_of_one_large_part_many_times_is_refused_early() -> None:
    part: list[Json] = [1.0] * 50_000
    with pytest.raises(PayloadRefused, match="x is too large"):
        check([part] * 1_000_000, "x")


@pytest.mark.parametrize(
    ("text", "scrubbed"),
    [
        ("plain", "plain"),
        ("a\0b", "a\\x00b"),
        ("\ud800", "\\ud800"),
        ("ü😀", "ü😀"),
        ("x" * 5000, "x" * 4096),
    ],
)
def test_scrubbing(text: str, scrubbed: str) -> None:
    assert scrub(text) == scrubbed


@given(st.text(st.characters()))
def test_scrubbed_text_can_be_stored(text: str) -> None:
    for each in (text, text * 2000):
        scrubbed = scrub(each)
        assert len(scrubbed.encode()) <= 4096
        assert "\0" not in scrubbed
        assert scrub(scrubbed) == scrubbed

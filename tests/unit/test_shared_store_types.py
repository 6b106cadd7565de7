"""Times and JSON as both stores hold them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects import sqlite

from brikk_shared.types import JsonText, from_microseconds, to_json, to_microseconds

MOMENTS = st.datetimes(timezones=st.timezones(), allow_imaginary=False)


@given(MOMENTS)
def test_a_moment_comes_back_to_the_microsecond(moment: datetime) -> None:
    back = from_microseconds(to_microseconds(moment))
    assert back == moment.astimezone(UTC)
    assert back.tzinfo is UTC


@given(MOMENTS, MOMENTS)
def test_numbers_sort_as_their_moments(one: datetime, other: datetime) -> None:
    earlier = one.astimezone(UTC) < other.astimezone(UTC)
    assert (to_microseconds(one) < to_microseconds(other)) == earlier


def test_a_zone_moves_the_hands_not_the_moment() -> None:
    zone = timezone(timedelta(hours=-7))
    assert to_microseconds(datetime(1969, 12, 31, 17, tzinfo=zone)) == 0


def test_a_naive_time_names_no_moment() -> None:
    with pytest.raises(ValueError, match="time zone"):
        to_microseconds(datetime(2026, 1, 1))  # noqa: DTZ001 - that is the point


def test_json_is_compact_and_readable() -> None:
    assert to_json({"a": [1, "é"], "b": None}) == '{"a":[1,"é"],"b":null}'


def test_json_holds_integers_of_any_length() -> None:
    assert to_json([2**64, None]) == "[18446744073709551616,null]"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {"a": [None, float("nan")]}])
def test_json_has_no_form_for(value: object) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        to_json(value)


def test_no_value_is_null_and_not_the_text_null() -> None:
    assert JsonText().process_bind_param(None, sqlite.dialect()) is None
    assert JsonText().process_bind_param([], sqlite.dialect()) == "[]"

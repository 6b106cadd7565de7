"""Column types that hold, compare and sort the same on SQLite and PostgreSQL."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import orjson
from sqlalchemy import BigInteger, Dialect, Integer, Text
from sqlalchemy.types import TypeDecorator

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

# What a table's own row number is declared as: SQLite gives numbers to INTEGER primary keys only.
RowId = BigInteger().with_variant(Integer, "sqlite")


def to_microseconds(moment: datetime) -> int:
    """Give the microseconds since 1970 of an aware moment; exact, unlike `datetime.timestamp`.

    Raises:
        ValueError: the moment is naive, so it names no point in time.
    """
    if moment.tzinfo is None:
        raise ValueError("a stored time needs a time zone")
    return (moment - EPOCH) // _MICROSECOND


def from_microseconds(microseconds: int) -> datetime:
    """Give the moment that lies so many microseconds after the beginning of 1970, in UTC."""
    return EPOCH + timedelta(microseconds=microseconds)


class UtcDateTime(TypeDecorator[datetime]):
    """An aware moment in UTC, stored as microseconds since 1970.

    Neither store has a better common form: SQLite has no time type, and PostgreSQL's would need a
    cast in every batch. Plain numbers compare, sort and add up identically in both.
    """

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _dialect: Dialect) -> int | None:
        """Store a moment as its number."""
        return None if value is None else to_microseconds(value)

    def process_result_value(self, value: int | None, _dialect: Dialect) -> datetime | None:
        """Read a number as its moment."""
        return None if value is None else from_microseconds(value)


class JsonText(TypeDecorator[object]):
    """A JSON value stored as compact text, so that both stores hold the very same characters."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: object, _dialect: Dialect) -> str | None:
        """Store a value as text; None is NULL."""
        return None if value is None else to_json(value)

    def process_result_value(self, value: str | None, _dialect: Dialect) -> object:
        """Read the text back."""
        return None if value is None else json.loads(value)


def to_json(value: object) -> str:
    """Write a value as the compact JSON that `JsonText` holds.

    Raises:
        ValueError: it contains NaN or an infinity.
        TypeError: it contains something that JSON has no form for.
    """
    try:
        encoded = orjson.dumps(value, option=_ONLY_JSON)
    except TypeError:  # also for an integer beyond 64 bits, for instance
        return _STRICT.encode(value)
    # A null may be a NaN that it did not refuse.
    return _STRICT.encode(value) if b"null" in encoded else encoded.decode()


# It knows more types than JSON does.
_ONLY_JSON = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME
# Takes all that JSON has a form for, in six times as long. Cycles end as RecursionError: to look
# for them costs a tenth.
_STRICT = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")
)

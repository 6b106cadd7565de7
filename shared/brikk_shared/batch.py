"""One statement for many rows: the rows of a batch as something to select from, on both stores.

    COLUMNS = {"id": "text", "state": "text", "seq": "bigint"}
    statement = text(
        "UPDATE execution SET state = b.state, seq = b.seq"
        f" FROM {batch_source(database.dialect, COLUMNS)}"
        " WHERE execution.id = b.id AND execution.seq = b.seq - 1 RETURNING execution.id"
    )
    rows = await connection.execute(statement, batch_params(database.dialect, COLUMNS, batch))

PostgreSQL takes an array per column (`unnest`), SQLite one JSON text (`json_each`); either way the
statement's text does not depend on the number of rows, so it is prepared once.

`INSERT ... SELECT ... FROM <source> WHERE true ON CONFLICT ...` needs its `WHERE true`: without it
SQLite takes ON for a join condition.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal, cast

from sqlalchemy.ext.asyncio import AsyncConnection

from brikk_shared.types import to_microseconds

Dialect = Literal["sqlite", "postgresql"]

# Column type of a batch -> element type of its PostgreSQL array.
_ARRAYS = {
    "text": "text[]",
    "bigint": "bigint[]",
    "double": "double precision[]",
    "bytes": "bytea[]",
    "bool": "boolean[]",
    "timestamp": "bigint[]",
}
_ENCODER = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")
)
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


def batch_source(dialect: Dialect, columns: Mapping[str, str], name: str = "b") -> str:
    """Give the SQL that stands after FROM: the rows of a batch, as a table called `name`.

    Columns maps each column's name to `text`, `bigint`, `double`, `bytes`, `bool` or `timestamp`
    (an aware datetime, as `UtcDateTime` stores it). A statement with two batches names them apart.
    """
    unknown = set(columns.values()) - _ARRAYS.keys()
    if unknown:
        raise ValueError(f"unknown column types of a batch: {sorted(unknown)}")
    if dialect == "postgresql":
        arrays = (f"CAST(:{name}_{column} AS {_ARRAYS[kind]})" for column, kind in columns.items())
        return f"unnest({', '.join(arrays)}) AS {name}({', '.join(columns)})"
    values: list[str] = []
    position = 0
    for column, kind in columns.items():
        if kind == "bytes":
            cut = f"json_extract(value, '$[{position}]'), json_extract(value, '$[{position + 1}]')"
            values.append(f"substr(:{name}_bytes, {cut}) AS {column}")
            position += 2
        else:
            values.append(f"json_extract(value, '$[{position}]') AS {column}")
            position += 1
    return f"(SELECT {', '.join(values)} FROM json_each(:{name}_rows)) AS {name}"


def batch_arrays(columns: Mapping[str, str], *, first: int, name: str) -> str:
    """Give what `batch_source` gives for PostgreSQL, in the driver's form, with arrays from $first.

    For `Database.run_statement`, whose arguments are the columns themselves. A row's number, from
    1 on, is its `place`.
    """
    arrays = (
        f"CAST(${number} AS {_ARRAYS[kind]})" for number, kind in enumerate(columns.values(), first)
    )
    return f"unnest({', '.join(arrays)}) WITH ORDINALITY AS {name}({', '.join(columns)}, place)"


def batch_params(
    dialect: Dialect,
    columns: Mapping[str, str],
    rows: Sequence[Mapping[str, object]],
    name: str = "b",
) -> dict[str, object]:
    """Give the parameters that go with `batch_source`; None is NULL, unknown members are ignored.

    Raises:
        KeyError: a row lacks a column.
        ValueError: a value cannot be stored: a NUL in a text, NaN or an infinity, a naive time.
    """
    if dialect == "postgresql":
        return {f"{name}_{column}": _column(rows, column, kind) for column, kind in columns.items()}
    parts: list[list[object]] = []
    # JSON has no bytes: they travel in one parameter of their own, and the JSON says where each
    # value begins. A first byte that nobody reads keeps that parameter from being empty, of which
    # SQLite's substr makes NULL.
    blob = bytearray(b"\0")
    for column, kind in columns.items():
        values = _column(rows, column, kind)
        if kind != "bytes":
            parts.append(values)
            continue
        starts: list[object] = []
        lengths: list[object] = []
        for value in cast("list[bytes | None]", values):
            starts.append(None if value is None else len(blob) + 1)
            lengths.append(None if value is None else len(value))
            blob += value or b""
        parts += (starts, lengths)
    encoded = _ENCODER.encode(list(zip(*parts, strict=True)))
    if "\\u0000" in encoded and _NUL.search(encoded):
        # SQLite would cut the text there without a word; PostgreSQL refuses it by itself.
        raise ValueError("a text of the batch contains NUL")
    params: dict[str, object] = {f"{name}_rows": encoded}
    if "bytes" in columns.values():
        params[f"{name}_bytes"] = bytes(blob)
    return params


def dialect_of(connection: AsyncConnection) -> Dialect:
    """Tell which store a connection leads to."""
    return "sqlite" if connection.dialect.name == "sqlite" else "postgresql"


def _column(rows: Sequence[Mapping[str, object]], column: str, kind: str) -> list[object]:
    if kind == "timestamp":
        moments = cast("list[datetime | None]", [row[column] for row in rows])
        return [None if moment is None else to_microseconds(moment) for moment in moments]
    return [row[column] for row in rows]

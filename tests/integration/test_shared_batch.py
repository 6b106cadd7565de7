"""A batch means the same on both stores: values, NULLs, and the statements that take from it."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Row, text

from brikk_shared.batch import batch_params, batch_source
from brikk_shared.database import Database
from brikk_shared.types import to_microseconds

COLUMNS = {
    "name": "text",
    "number": "bigint",
    "share": "double",
    "payload": "bytes",
    "digest": "bytes",
    "flag": "bool",
    "moment": "timestamp",
}
# No NUL and no lone surrogates: neither store holds them.
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.none() | TEXTS,
            "number": st.none() | st.integers(-(2**63), 2**63 - 1),
            "share": st.none() | st.floats(allow_nan=False, allow_infinity=False),
            "payload": st.none() | st.binary(),
            "digest": st.none() | st.binary(max_size=8),
            "flag": st.none() | st.booleans(),
            "moment": st.none() | st.datetimes(timezones=st.just(UTC)),
        }
    ),
    max_size=20,
)


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rows=ROWS)
async def test_every_value_arrives_as_it_was(
    database: Database, rows: list[dict[str, object]]
) -> None:
    found = await _select(database, COLUMNS, rows)
    assert [_comparable(dict(row._mapping)) for row in found] == [_comparable(row) for row in rows]


async def test_one_statement_updates_many_rows_and_tells_which(database: Database) -> None:
    await _insert(database, {"a": 1, "b": 2, "c": 3})
    columns = {"name": "text", "epoch": "bigint"}
    statement = text(
        f"UPDATE lease SET epoch = b.epoch + 1 FROM {batch_source(database.dialect, columns)}"
        " WHERE lease.name = b.name AND lease.epoch = b.epoch RETURNING lease.name"
    )
    rows = [{"name": "a", "epoch": 1}, {"name": "b", "epoch": 1}, {"name": "c", "epoch": 3}]
    async with database.transaction() as connection:
        params = batch_params(database.dialect, columns, rows)
        updated = (await connection.execute(statement, params)).scalars().all()
    assert sorted(updated) == ["a", "c"]
    assert await _epochs(database) == {"a": 2, "b": 2, "c": 4}


async def test_one_statement_inserts_what_is_new_and_updates_the_rest(database: Database) -> None:
    await _insert(database, {"a": 1})
    await _insert(database, {"a": 5, "b": 6})
    assert await _epochs(database) == {"a": 5, "b": 6}


async def test_a_statement_may_take_from_two_batches(database: Database) -> None:
    columns = {"name": "text"}
    one = batch_source(database.dialect, columns, "one")
    other = batch_source(database.dialect, columns, "other")
    statement = text(f"SELECT one.name FROM {one} JOIN {other} ON one.name = other.name")
    params = {
        **batch_params(database.dialect, columns, [{"name": "a"}, {"name": "b"}], "one"),
        **batch_params(database.dialect, columns, [{"name": "b"}, {"name": "c"}], "other"),
    }
    async with database.reading() as connection:
        assert (await connection.execute(statement, params)).scalars().all() == ["b"]


async def _select(
    database: Database, columns: dict[str, str], rows: list[dict[str, object]]
) -> list[Row[tuple[object, ...]]]:
    async with database.reading() as connection:
        statement = text(f"SELECT * FROM {batch_source(database.dialect, columns)}")
        found = await connection.execute(statement, batch_params(database.dialect, columns, rows))
        return list(found)


async def _insert(database: Database, epochs: dict[str, int]) -> None:
    columns = {"name": "text", "epoch": "bigint"}
    statement = text(
        "INSERT INTO lease (name, owner, epoch, expires_at)"
        f" SELECT name, '', epoch, 0 FROM {batch_source(database.dialect, columns)} WHERE true"
        " ON CONFLICT (name) DO UPDATE SET epoch = excluded.epoch"
    )
    rows = [{"name": name, "epoch": epoch} for name, epoch in epochs.items()]
    async with database.transaction() as connection:
        await connection.execute(statement, batch_params(database.dialect, columns, rows))


async def _epochs(database: Database) -> dict[str, int]:
    async with database.reading() as connection:
        rows = await connection.execute(text("SELECT name, epoch FROM lease"))
        return {row.name: row.epoch for row in rows}


def _comparable(row: dict[str, object]) -> dict[str, object]:
    moment = row["moment"]
    return {**row, "moment": to_microseconds(moment) if isinstance(moment, datetime) else moment}

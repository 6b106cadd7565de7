"""The database: transactions, reads, exclusive use, errors that tell nothing of the driver."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError

from brikk_shared.audit import AuditEntry
from brikk_shared.audit_log import AuditLog
from brikk_shared.call import Call, enter_call
from brikk_shared.database import Database, DatabaseInUse
from brikk_shared.driver_errors import Conflict
from brikk_shared.errors import Reason, StartError, Unavailable
from brikk_shared.identity import Identity
from brikk_shared.types import to_microseconds

INSERT = text("INSERT INTO lease (name, owner, epoch, expires_at) VALUES (:name, '', 1, 0)")
COUNT = text("SELECT count(*) FROM lease")
ADD = text("UPDATE lease SET epoch = :epoch WHERE name = 'a'")
EPOCH = text("SELECT epoch FROM lease WHERE name = 'a'")
ACTORS = text("SELECT actor, outcome FROM audit_entry ORDER BY id")


async def count(database: Database) -> int:
    async with database.reading() as connection:
        found: int = (await connection.execute(COUNT)).scalar_one()
        return found


async def test_a_transaction_is_kept_as_a_whole_or_not_at_all(database: Database) -> None:
    async with database.transaction() as connection:
        await connection.execute(INSERT, {"name": "a"})
    with pytest.raises(LookupError):
        async with database.transaction() as connection:
            await connection.execute(INSERT, {"name": "b"})
            raise LookupError
    assert await count(database) == 1


async def test_a_cancelled_transaction_leaves_nothing_and_blocks_nobody(database: Database) -> None:
    inserted = asyncio.Event()

    async def insert_and_hang() -> None:
        async with database.transaction() as connection:
            await connection.execute(INSERT, {"name": "a"})
            inserted.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(insert_and_hang())
    await inserted.wait()
    task.cancel()
    await asyncio.wait({task})
    async with database.transaction() as connection:
        await connection.execute(INSERT, {"name": "a"})
    assert await count(database) == 1


async def test_a_transaction_cancelled_anywhere_gives_the_lock_back(database: Database) -> None:
    upsert = text(
        "INSERT INTO lease (name, owner, epoch, expires_at) VALUES (:name, '', 1, 0)"
        " ON CONFLICT (name) DO UPDATE SET epoch = lease.epoch + 1 RETURNING epoch"
    )
    # Whoever keeps the error keeps its frames, and with them the statement that was under way.
    kept: list[BaseException] = []

    async def write() -> None:
        try:
            async with database.transaction() as connection:
                for name in "abc":
                    await connection.execute(upsert, {"name": name})
        except asyncio.CancelledError as error:
            kept.append(error)
            raise

    for turns in range(0, 400, 5):
        task = asyncio.create_task(write())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})
        async with database.transaction() as connection:
            await connection.execute(upsert, {"name": "d"})
    assert kept


async def test_work_in_the_driver_is_kept_as_a_whole_or_not_at_all(sqlite_url: str) -> None:
    insert = "INSERT INTO lease (name, owner, epoch, expires_at) VALUES (?, '', 1, 0)"

    def work(
        name: str, error: type[Exception] | None = None
    ) -> Callable[[sqlite3.Connection], int]:
        def write(connection: sqlite3.Connection) -> int:
            inserted = connection.execute(insert, (name,)).rowcount
            if error:
                raise error
            return inserted

        return write

    async with Database(sqlite_url, migrations=None) as database:
        assert await database.run_in_driver(work("a")) == 1
        with pytest.raises(LookupError):
            await database.run_in_driver(work("b", LookupError))
        with pytest.raises(sqlite3.IntegrityError):
            await database.run_in_driver(work("a"))
        async with database.transaction() as connection:
            await connection.execute(INSERT, {"name": "c"})
        assert await count(database) == 2


async def test_work_in_the_driver_that_nobody_waits_for_any_more_is_done(sqlite_url: str) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def write(connection: sqlite3.Connection) -> None:
        begun.set()
        go_on.wait()
        connection.execute("INSERT INTO lease VALUES ('a', '', 1, 0)")

    async with Database(sqlite_url, migrations=None) as database:
        working = asyncio.create_task(database.run_in_driver(write))
        await asyncio.to_thread(begun.wait)
        working.cancel()
        go_on.set()
        await asyncio.wait({working})
        async with database.transaction() as connection:
            await connection.execute(INSERT, {"name": "b"})
        assert await count(database) == 2


async def test_a_lone_statement_is_a_transaction(postgres_url: str) -> None:
    insert = "INSERT INTO lease SELECT n, '', 1, 0 FROM unnest($1::text[]) AS n RETURNING name"
    async with Database(postgres_url, migrations=None) as database:
        assert [tuple(row) for row in await database.run_statement(insert, [["a", "b"]])] == [
            ("a",),
            ("b",),
        ]
        with pytest.raises(asyncpg.UniqueViolationError):
            await database.run_statement(insert, [["c", "a"]])
        assert await count(database) == 2
        # A broken connection is known for one, and those that are as old with it.
        await asyncio.gather(*(database.run_statement(insert, [[each]]) for each in "ef"))
        await _terminate_all(postgres_url)
        with pytest.raises(Unavailable):
            await database.run_statement(insert, [["c"]])
        await asyncio.gather(*(database.run_statement(insert, [[each]]) for each in "gh"))
    async with Database(postgres_url, migrations=None) as database:
        assert await count(database) == 6


async def test_updates_at_the_same_time_are_not_lost(database: Database) -> None:
    async with database.transaction() as connection:
        await connection.execute(INSERT, {"name": "a"})

    async def add_one() -> None:
        async with database.transaction() as connection:
            lock = "" if database.dialect == "sqlite" else " FOR UPDATE"
            read = text(f"SELECT epoch FROM lease WHERE name = 'a'{lock}")
            epoch = (await connection.execute(read)).scalar_one()
            await connection.execute(ADD, {"epoch": epoch + 1})

    async with asyncio.TaskGroup() as group:
        for _ in range(40):
            group.create_task(add_one())
    async with database.reading() as connection:
        assert (await connection.execute(EPOCH)).scalar_one() == 41


async def test_a_read_sees_one_moment_and_neither_waits_nor_makes_wait(database: Database) -> None:
    async with database.reading() as reading:
        assert (await reading.execute(COUNT)).scalar_one() == 0
        async with database.transaction() as writing:
            await writing.execute(INSERT, {"name": "a"})
            assert (await reading.execute(COUNT)).scalar_one() == 0
        assert (await reading.execute(COUNT)).scalar_one() == 0
    assert await count(database) == 1


async def test_a_read_cannot_write(database: Database) -> None:
    with pytest.raises((DBAPIError, Unavailable)):
        async with database.reading() as connection:
            await connection.execute(INSERT, {"name": "a"})


async def test_a_duplicate_is_the_callers_matter_and_does_not_show_values(
    database: Database,
) -> None:
    async with database.transaction() as connection:
        await connection.execute(INSERT, {"name": "secret"})
    with pytest.raises(IntegrityError) as raised:
        async with database.transaction() as connection:
            await connection.execute(INSERT, {"name": "secret"})
    assert "secret" not in str(raised.value)


async def test_its_clock_tells_the_time_of_the_statement(database: Database) -> None:
    async with database.transaction() as connection:
        read = text(f"SELECT {database.now_sql}")
        first = (await connection.execute(read)).scalar_one()
        async with database.reading():
            pass
        before = to_microseconds(datetime.now(UTC)) // 1000
        second = (await connection.execute(read)).scalar_one()
    assert first <= second
    # SQLite knows milliseconds; both stores run on this machine.
    assert before <= second // 1000 <= to_microseconds(datetime.now(UTC)) // 1000


@pytest.mark.parametrize("url", ["mysql://x", "sqlite://", "sqlite:///", "brikk.db", ""])
async def test_a_url_of_another_store_is_refused_without_its_secrets(url: str) -> None:
    with pytest.raises(StartError, match="sqlite:///path or postgresql"):
        Database(url, migrations=None)


async def test_a_second_user_of_a_file_is_told_which(sqlite_url: str) -> None:
    path = sqlite_url.removeprefix("sqlite:///")
    async with Database(sqlite_url, migrations=None):
        with pytest.raises(DatabaseInUse, match=path):
            async with Database(sqlite_url, migrations=None):
                pass
    async with Database(sqlite_url, migrations=None):
        pass


async def test_a_file_is_free_again_when_its_user_is_killed(sqlite_url: str) -> None:
    program = (
        "import asyncio, sys\n"
        "from brikk_shared.database import Database\n"
        "async def main():\n"
        "    async with Database(sys.argv[1], migrations=None):\n"
        "        print('open', flush=True)\n"
        "        await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    command = [sys.executable, "-c", program, sqlite_url]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:  # noqa: ASYNC220
        assert process.stdout is not None
        assert await asyncio.to_thread(process.stdout.readline) == b"open\n"
        with pytest.raises(DatabaseInUse):
            async with Database(sqlite_url, migrations=None):
                pass
        process.kill()
        await asyncio.to_thread(process.wait)
        async with Database(sqlite_url, migrations=None) as database:
            assert await count(database) == 0


async def test_others_cannot_read_the_file(sqlite_url: str) -> None:
    path = Path(sqlite_url.removeprefix("sqlite:///"))
    async with Database(sqlite_url, migrations=None) as database:
        async with database.transaction() as connection:
            await connection.execute(INSERT, {"name": "a"})
        modes = {each.name: each.stat().st_mode & 0o777 for each in path.parent.iterdir()}
    assert modes.keys() >= {"brikk.db", "brikk.db-wal", "brikk.db.lock"}
    assert set(modes.values()) == {0o600}


async def test_a_server_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable) as raised:
        async with Database(f"postgresql://user:secret@/db?host={tmp_path}", migrations=None):
            pass
    assert raised.value.reason is Reason.DEPENDENCY_UNAVAILABLE
    assert raised.value.retry_after is not None
    assert str(raised.value) == "the store does not answer"


async def test_a_database_that_is_not_there_stops_the_start(postgres_url: str) -> None:
    with pytest.raises(StartError, match=r'database "gone_.*" does not exist'):
        async with Database(postgres_url.replace("/test_", "/gone_"), migrations=None):
            pass


async def test_a_url_that_cannot_be_read_stops_the_start() -> None:
    with pytest.raises(StartError, match="sslmode"):
        async with Database("postgresql://u:secret@/db?sslmode=perhaps", migrations=None):
            pass


async def test_broken_connections_are_replaced(postgres_url: str) -> None:
    async with Database(postgres_url, migrations=None) as database:
        with pytest.raises(Unavailable):
            async with database.transaction() as connection:
                await connection.execute(INSERT, {"name": "a"})
                await _terminate_all(postgres_url)
                await connection.execute(INSERT, {"name": "b"})
        await _terminate_all(postgres_url)
        async with database.transaction() as connection:
            await connection.execute(INSERT, {"name": "c"})
        assert await count(database) == 1


async def test_a_wait_for_a_lock_ends_as_unavailable(postgres_url: str) -> None:
    async with Database(postgres_url, migrations=None) as database:
        async with database.transaction() as connection:
            await connection.execute(INSERT, {"name": "a"})
        async with database.transaction() as holder:
            await holder.execute(ADD, {"epoch": 2})
            with pytest.raises(Unavailable) as raised:
                async with database.transaction() as waiter:
                    await waiter.execute(text("SET LOCAL lock_timeout = '10ms'"))
                    await waiter.execute(ADD, {"epoch": 3})
    assert not isinstance(raised.value, Conflict)


async def test_the_victim_of_a_deadlock_is_told_that_nothing_was_written(
    postgres_url: str,
) -> None:
    async with Database(postgres_url, migrations=None) as database:
        async with database.transaction() as connection:
            await connection.execute(INSERT, {"name": "a"})
            await connection.execute(INSERT, {"name": "b"})
        both_hold_one = asyncio.Barrier(2)

        async def lock(first: str, second: str) -> None:
            touch = text("UPDATE lease SET epoch = epoch + 1 WHERE name = :name")
            async with database.transaction() as connection:
                await connection.execute(text("SET LOCAL deadlock_timeout = '10ms'"))
                await connection.execute(touch, {"name": first})
                await both_hold_one.wait()
                await connection.execute(touch, {"name": second})

        outcomes = await asyncio.gather(lock("a", "b"), lock("b", "a"), return_exceptions=True)
        async with database.reading() as connection:
            assert (await connection.execute(EPOCH)).scalar_one() == 2
    assert [type(outcome) for outcome in outcomes if outcome] == [Conflict]


async def test_the_entry_of_a_call_is_kept_with_its_change(database: Database) -> None:
    entry = audit_entry("users/ann")
    enter_call(_call(entry))
    with pytest.raises(LookupError):
        async with database.transaction() as connection:
            await connection.execute(INSERT, {"name": "a"})
            raise LookupError
    assert not entry.recorded
    async with database.transaction() as connection:
        await connection.execute(INSERT, {"name": "a"})
    assert entry.recorded
    async with database.transaction() as connection:
        await connection.execute(INSERT, {"name": "b"})
        assert (await connection.execute(ACTORS)).all() == [("users/ann", "OK")]


async def test_an_entry_without_a_change_is_kept_by_itself(database: Database) -> None:
    entry = audit_entry("users/ann")
    enter_call(_call(entry))
    entry.outcome = "NOT_FOUND"
    await AuditLog(database).record(entry)
    assert entry.recorded
    async with database.reading() as connection:
        assert (await connection.execute(ACTORS)).all() == [("users/ann", "NOT_FOUND")]


def audit_entry(actor: str) -> AuditEntry:
    return AuditEntry(
        organization="acme",
        actor=actor,
        method="/x/Y",
        request_id="r",
        peer="ipv4:127.0.0.1:1",
        time=datetime.now(UTC),
        request_digest="",
    )


def _call(entry: AuditEntry) -> Call:
    identity = Identity(
        subject=entry.actor, organization="acme", scopes=frozenset(), internal=False
    )
    return Call(method=entry.method, identity=identity, request_id="r", audit=entry)


async def _terminate_all(url: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    finally:
        await connection.close()

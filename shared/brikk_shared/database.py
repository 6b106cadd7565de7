"""The database of a service: transactions and reads, with one meaning on SQLite and on PostgreSQL.

SQLite commits with synchronous=FULL: an acknowledged commit survives the loss of power, not only of
the process. The price is one fsync per commit, which group commit shares out.

PostgreSQL runs transactions as READ COMMITTED and reads as REPEATABLE READ, so that a read sees one
moment, as it does on SQLite. A statement ends after 30 s, a wait for a lock after 10 s.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from threading import Thread
from typing import Self, TypeVar, cast
from weakref import WeakSet

import aiosqlite
import asyncpg
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from brikk_shared.audit import AuditEntry
from brikk_shared.audit_rows import insert_entries
from brikk_shared.batch import Dialect
from brikk_shared.call import call_under_way
from brikk_shared.driver_errors import driver_errors
from brikk_shared.engines import (
    BATCHES,
    join_threads,
    postgresql_engine,
    sqlite_engine,
    starting_engine,
)
from brikk_shared.errors import StartError
from brikk_shared.migrations import upgrade

Result = TypeVar("Result")

# The time now in microseconds since 1970, by the clock of the store. On PostgreSQL not now(): that
# is when the transaction began, which is stale after a wait for a lock. SQLite knows milliseconds.
_NOW: dict[Dialect, str] = {
    "postgresql": "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)",
    "sqlite": (
        "(CAST(strftime('%s', 'now') AS INTEGER) * 1000000"
        " + CAST(substr(strftime('%f', 'now'), 4) AS INTEGER) * 1000)"
    ),
}


class DatabaseInUse(StartError):
    """Another process has the SQLite file open; only one may."""


class Database:
    """A service's database; an async context manager that opens, migrates and closes it.

    Args:
        url: `sqlite:///relative/path`, `sqlite:////absolute/path` or `postgresql://...` as libpq
            writes it.
        migrations: package whose folder `versions` holds the service's own migrations; None for the
            shared tables only.

    Raises:
        StartError: the URL names neither store; when entered, the server refuses us.
        DatabaseInUse: when entered, another process has the SQLite file open.
        Unavailable: when entered, the server does not answer.
    """

    def __init__(self, url: str, *, migrations: str | None) -> None:
        scheme, _, rest = url.partition("://")
        if scheme == "sqlite" and rest.startswith("/") and rest.strip("/"):
            self.dialect: Dialect = "sqlite"
            self._path = Path(rest[1:])
        elif scheme in ("postgresql", "postgres"):
            self.dialect = "postgresql"
        else:
            # The URL may hold a password, so it is not repeated here.
            raise StartError("a database URL is sqlite:///path or postgresql://...")
        self._url = url
        self._migrations = migrations
        self._resources = AsyncExitStack()
        self._writer: AsyncEngine
        self._reader: AsyncEngine
        self._batches: AsyncEngine

    @property
    def now_sql(self) -> str:
        """SQL for the time now by the store's clock, in the form of `UtcDateTime`."""
        return _NOW[self.dialect]

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as resources:
            if self.dialect == "sqlite":
                resources.callback(os.close, _lock_file(self._path))
                threads = WeakSet[Thread]()
                resources.push_async_callback(asyncio.to_thread, join_threads, threads)
                self._writer = sqlite_engine(self._path, writer=True, threads=threads)
                resources.push_async_callback(self._writer.dispose)
                self._reader = sqlite_engine(self._path, writer=False, threads=threads)
                resources.push_async_callback(self._reader.dispose)
            else:
                self._writer = postgresql_engine(self._url)
                resources.push_async_callback(self._writer.dispose)
                self._batches = postgresql_engine(self._url, settings=BATCHES)
                resources.push_async_callback(self._batches.dispose)
                self._reader = self._writer.execution_options(
                    isolation_level="REPEATABLE READ", postgresql_readonly=True
                )
            await self._migrate()
            self._resources = resources.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._resources.aclose()

    async def _migrate(self) -> None:
        if self.dialect == "sqlite":
            with driver_errors():
                await upgrade(self._writer, self._migrations)
                async with self._writer.begin() as connection:
                    # The file lock proves that whoever held a lease is gone, so a restart resumes
                    # at once.
                    await connection.execute(text("UPDATE lease SET expires_at = 0"))
            return
        engine = starting_engine(self._url)
        try:
            with driver_errors():
                await upgrade(engine, self._migrations)
        finally:
            await engine.dispose()

    @asynccontextmanager
    async def transaction(
        self, *, audit: Sequence[AuditEntry] | None = None
    ) -> AsyncIterator[AsyncConnection]:
        """Open a transaction that writes; it commits when the block ends well.

        The audit entry of the call under way is added to the first transaction of the call, or the
        entries of `audit` instead, which are read when the block ends. SQLite has one such
        transaction at a time, in order of arrival.

        Raises:
            Unavailable: the store does not answer; the transaction may have been committed all the
                same.
            Conflict: the store gave the transaction up, so it was not.
        """
        with driver_errors():
            async with self._writer.begin() as connection:
                yield connection
                entries = _entry_of_call() if audit is None else audit
                await insert_entries(connection, entries)
        for entry in entries:
            entry.recorded = True

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """Open a transaction that sees one moment; it neither blocks writers nor waits for them.

        Raises:
            Unavailable: the store does not answer.
        """
        with driver_errors():
            async with self._reader.begin() as connection:
                yield connection

    async def ping(self) -> None:
        """Ask the store for nothing. Unavailable when it does not answer."""
        async with self.reading() as connection:
            await connection.execute(text("SELECT 1"))

    async def run_statement(
        self, statement: str, arguments: Sequence[object]
    ) -> Sequence[asyncpg.Record]:
        """Run one PostgreSQL statement as a transaction of its own, in one round trip.

        Its plan is made once, see `engines.BATCHES`: a table that it joins must be narrowed by
        index to what the arguments name.

        It goes to the driver as it is, `$1` for an argument; no audit entry is added.

        Raises:
            Unavailable, Conflict: as `transaction` does.
        """
        with driver_errors():
            async with self._batches.connect() as connection:
                raw = await connection.get_raw_connection()
                driver = cast("asyncpg.Connection[asyncpg.Record]", raw.driver_connection)
                try:
                    rows: list[asyncpg.Record] = await driver.fetch(statement, *arguments)
                except (
                    asyncpg.PostgresError,
                    asyncpg.InterfaceError,
                    asyncpg.InternalClientError,
                    OSError,
                ) as error:
                    if isinstance(error, asyncpg.InternalClientError):
                        # It broke, and the driver has not taken that in yet.
                        driver.terminate()
                    if driver.is_closed():
                        # So that the pool notices, and forgets all that are as old.
                        await connection.exec_driver_sql("SELECT 1")
                    raise
                return rows

    async def run_in_driver(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        """Do work in an SQLite transaction, all of it in one visit to the driver's thread.

        It commits when the work returns; no audit entry is added.

        Raises:
            Unavailable: as `transaction` does.
        """
        with driver_errors():
            async with self._writer.connect() as connection:
                raw = await connection.get_raw_connection()
                driver = cast("aiosqlite.Connection", raw.driver_connection)
                # The driver has a public method for each statement, and none for many: each would
                # be a visit to its thread and back.
                visit = driver._execute(_transact, driver, work)  # type: ignore[no-untyped-call]  # it has no annotations
                return cast("Result", await visit)


def _transact(driver: aiosqlite.Connection, work: Callable[[sqlite3.Connection], Result]) -> Result:
    connection = driver._conn
    connection.execute("BEGIN IMMEDIATE")
    try:
        result = work(connection)
        connection.execute("COMMIT")
    except BaseException:
        connection.rollback()
        raise
    return result


def _entry_of_call() -> Sequence[AuditEntry]:
    call = call_under_way()
    if call is None or call.audit is None or call.audit.recorded:
        return ()
    return (call.audit,)


def _lock_file(path: Path) -> int:
    """Take the file beside the database that one process may hold, until it ends."""
    lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise DatabaseInUse(
            f"{path.absolute()} is open in another process (which holds {path.name}.lock);"
            " an SQLite database serves one process, PostgreSQL many"
        ) from None
    # SQLite gives its WAL and its index the mode of the database.
    path.touch(mode=0o600)
    return lock

"""How a service's connections to its store are made, pooled and given up, by dialect."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from threading import Thread
from weakref import WeakSet

import asyncpg
from sqlalchemy import Connection, NullPool, event
from sqlalchemy.engine.interfaces import DBAPIConnection, ExceptionContext
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from brikk_shared.errors import StartError

_POSTGRESQL_CONNECTIONS = 10
_SQLITE_READERS = 4
_POOL_TIMEOUT_S = 10.0
_CONNECT_TIMEOUT_S = 10.0
# The client gives up after the server should have: for when the network swallows everything.
_COMMAND_TIMEOUT_S = 45.0
_IDENTITY = {"application_name": "brikk", "timezone": "UTC"}
_SERVING = {
    "statement_timeout": "30s",
    "lock_timeout": "10s",
    # A process that was frozen in a transaction keeps nobody else waiting for longer.
    "idle_in_transaction_session_timeout": "10s",
    # A plan that is kept from when a table was empty reads all of it when it is full.
    "plan_cache_mode": "force_custom_plan",
}
# To plan a small batch costs as much as to write it, so its plan is kept. That must do however full
# the tables are and however large the batch is: by index into tables, by hash from part to part.
BATCHES = {
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_nestloop": "off",
    # What cannot be had without these looks so costly that it would be compiled first.
    "jit": "off",
}


def join_threads(threads: Iterable[Thread]) -> None:
    """Wait for the driver's threads: one that was given up tells the loop of its end, too."""
    for thread in list(threads):
        thread.join(_POOL_TIMEOUT_S)


def sqlite_engine(path: Path, *, writer: bool, threads: WeakSet[Thread]) -> AsyncEngine:
    """Give the engine that writes a file, or one that only reads it.

    The driver has a thread for each connection; they are added to `threads`.
    """
    engine = create_async_engine(
        f"sqlite+aiosqlite:///{path}",
        pool_size=1 if writer else _SQLITE_READERS,
        max_overflow=0,
        pool_timeout=_POOL_TIMEOUT_S,
        pool_reset_on_return=None,
        hide_parameters=True,
    )

    def configure(connection: DBAPIConnection, _record: object) -> None:
        threads.add(connection.driver_connection._thread)
        # Without this the driver begins transactions by itself, deferred, and updates are lost.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in (
            "journal_mode = WAL",
            "synchronous = FULL",
            "busy_timeout = 5000",
            "foreign_keys = ON",
            f"query_only = {'OFF' if writer else 'ON'}",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writer else "BEGIN")

    def reset(connection: DBAPIConnection, _record: object, _state: object) -> None:
        # The pool would roll back whatever comes back, which is one more visit to the thread.
        if connection.driver_connection.in_transaction:
            connection.rollback()

    def give_up(connection: DBAPIConnection, _record: object, _error: object) -> None:
        # When a task is cancelled in a statement, its connection is closed; but one that has a
        # statement left lives on, with its transaction and the write lock (sqlite3_close_v2).
        connection.rollback()

    event.listen(engine.sync_engine, "connect", configure)
    event.listen(engine.sync_engine, "begin", begin)
    event.listen(engine.sync_engine, "reset", reset)
    event.listen(engine.sync_engine, "invalidate", give_up)
    return engine


def postgresql_engine(url: str, *, settings: dict[str, str] | None = None) -> AsyncEngine:
    """Give the engine of a service that serves; `settings` are the server's, for its sessions."""

    async def connect() -> asyncpg.Connection[asyncpg.Record]:
        serving = _IDENTITY | _SERVING | (settings or {})
        return await _connect(url, settings=serving, timeout=_COMMAND_TIMEOUT_S)

    engine = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=connect,
        pool_size=_POSTGRESQL_CONNECTIONS,
        max_overflow=0,
        pool_timeout=_POOL_TIMEOUT_S,
        # No pre-ping: it would cost every transaction a round trip. The first to meet a broken
        # connection fails as Unavailable, and the pool forgets all that are as old.
        hide_parameters=True,
    )
    event.listen(engine.sync_engine, "handle_error", _notice_break)
    return engine


def _notice_break(context: ExceptionContext) -> None:
    # A connection that broke between two messages is not closed yet when the driver meets it.
    cause = context.original_exception.__cause__
    if isinstance(cause, asyncpg.InternalClientError):
        context.is_disconnect = True


def starting_engine(url: str) -> AsyncEngine:
    """Give the engine of a start: migrations may take long, and refusals are the operator's."""

    async def connect() -> asyncpg.Connection[asyncpg.Record]:
        try:
            return await _connect(url, settings=_IDENTITY, timeout=None)
        except (
            asyncpg.InvalidAuthorizationSpecificationError,
            asyncpg.InvalidCatalogNameError,
            ValueError,  # the URL cannot be read
        ) as error:
            raise StartError(f"cannot use the database: {error}") from error

    return create_async_engine(
        "postgresql+asyncpg://", async_creator=connect, poolclass=NullPool, hide_parameters=True
    )


async def _connect(
    url: str, *, settings: dict[str, str], timeout: float | None
) -> asyncpg.Connection[asyncpg.Record]:
    # The driver reads the URL, with all that libpq understands: ?host=, ?sslmode= and so on.
    try:
        return await asyncpg.connect(
            url, timeout=_CONNECT_TIMEOUT_S, command_timeout=timeout, server_settings=settings
        )
    except OSError as error:
        raise ConnectionError("PostgreSQL cannot be reached") from error

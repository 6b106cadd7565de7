"""The one place where a database driver's errors become ours: its text never leaves the process."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import asyncpg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from brikk_shared.errors import Reason, Unavailable

# https://www.postgresql.org/docs/current/errcodes-appendix.html: connection, credentials, catalogue
# name, resources, intervention (shutdown, statement timeout), system; then a lock timeout, and a
# server that has become a standby.
_UNAVAILABLE_CLASSES = ("08", "28", "3D", "53", "57", "58")
_UNAVAILABLE_STATES = frozenset({"55P03", "25006"})
_CONFLICT_STATES = frozenset({"40001", "40P01"})
# https://www.sqlite.org/rescode.html: primary codes.
_UNAVAILABLE_SQLITE = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
    }
)
_SQLITE_PRIMARY = 0xFF


class Conflict(Unavailable):
    """The store gave this transaction up for another (deadlock); nothing of it was written."""


@contextmanager
def driver_errors() -> Iterator[None]:
    """Raise what the store cannot do now as Unavailable; other errors pass unchanged.

    After Unavailable a transaction may have been committed: the reply to COMMIT may be what was
    lost. After Conflict it has not.
    """
    try:
        yield
    except (
        DBAPIError,
        PoolTimeoutError,
        asyncpg.PostgresError,
        sqlite3.Error,
        OSError,
    ) as error:
        unavailable = _translate(error)
        if unavailable is None:
            raise
        raise unavailable from error


def _translate(error: Exception) -> Unavailable | None:
    cause: BaseException | None = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return _unavailable()
    if isinstance(cause, sqlite3.Error):
        code = getattr(cause, "sqlite_errorcode", 0) & _SQLITE_PRIMARY
        return _unavailable() if code in _UNAVAILABLE_SQLITE else None
    # asyncpg raises the plain errors of the socket, and TimeoutError (an OSError) past its command
    # timeout.
    if isinstance(cause, PoolTimeoutError | ConnectionError | TimeoutError):
        return _unavailable()
    state = getattr(cause, "sqlstate", None) or ""
    if state in _CONFLICT_STATES:
        return Conflict(
            Reason.DEPENDENCY_UNAVAILABLE,
            "the store gave way to another transaction",
            retry_after=timedelta(milliseconds=100),
        )
    if state.startswith(_UNAVAILABLE_CLASSES) or state in _UNAVAILABLE_STATES:
        return _unavailable()
    return None


def _unavailable() -> Unavailable:
    return Unavailable(
        Reason.DEPENDENCY_UNAVAILABLE,
        "the store does not answer",
        retry_after=timedelta(seconds=1),
    )

"""The store of a registry that runs, seen and changed behind its back."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import asyncpg

_MICROSECOND = timedelta(microseconds=1)


async def lapse(
    database_url: str, duration: timedelta, agents: str = "%", *, beating: bool = False
) -> None:
    """Do to agents whose ids are LIKE this what a time does, in which they beat or do not."""
    by, like = duration // _MICROSECOND, f"agent_id LIKE '{agents}'"
    await run(database_url, f"UPDATE memory SET penalty_time = penalty_time - {by} WHERE {like}")
    if not beating:
        await run(
            database_url,
            f"UPDATE agent_lease SET beat_time = beat_time - {by}, expire_time = expire_time - {by}"
            f" WHERE {like}",
        )


async def run(database_url: str, statement: str) -> Sequence[Any]:
    """Run a statement in a transaction of its own, and give its rows."""
    if database_url.startswith("sqlite"):
        # In a thread: the registry may hold the lock, and needs the loop to let go of it.
        return await asyncio.to_thread(_run, database_url.removeprefix("sqlite:///"), statement)
    session = await asyncpg.connect(database_url)
    try:
        return [tuple(row) for row in await session.fetch(statement)]
    finally:
        await session.close()


def _run(path: str, statement: str) -> Sequence[Any]:
    connection = sqlite3.connect(path, timeout=30)
    try:
        with connection:
            return connection.execute(statement).fetchall()
    finally:
        connection.close()

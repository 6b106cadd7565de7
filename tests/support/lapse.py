"""Time that passes in the store of a registry that runs, for some of its agents."""

from __future__ import annotations

import asyncio
import sqlite3
from datetime import timedelta

import asyncpg

_MICROSECOND = timedelta(microseconds=1)


async def lapse(
    database_url: str, duration: timedelta, agents: str = "%", *, beating: bool = False
) -> None:
    """Do to agents whose ids are LIKE this what a time does, in which they beat or do not."""
    by, like = duration // _MICROSECOND, f"agent_id LIKE '{agents}'"
    statements = [f"UPDATE memory SET penalty_time = penalty_time - {by} WHERE {like}"]
    if not beating:
        statements.append(
            f"UPDATE agent SET beat_time = beat_time - {by}, expire_time = expire_time - {by}"
            f" WHERE {like}"
        )
    if database_url.startswith("sqlite"):
        # In a thread: the registry may hold the lock, and needs the loop to let go of it.
        await asyncio.to_thread(_write, database_url.removeprefix("sqlite:///"), statements)
        return
    session = await asyncpg.connect(database_url)
    try:
        for statement in statements:
            await session.execute(statement)
    finally:
        await session.close()


def _write(path: str, statements: list[str]) -> None:
    connection = sqlite3.connect(path, timeout=30)
    try:
        with connection:
            for statement in statements:
                connection.execute(statement)
    finally:
        connection.close()

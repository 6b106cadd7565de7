"""Lets transactions that must not run side by side take turns."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended(:turn, 0))")


async def take_turn(connection: AsyncConnection, turn: str) -> None:
    """Waits until no other transaction has taken this turn; it lasts as long as the transaction.

    On SQLite there is one writing transaction at a time, so it is always one's turn.
    """
    if connection.dialect.name == "postgresql":
        await connection.execute(_LOCK, {"turn": turn})

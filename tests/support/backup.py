"""Copies of a database while its service is stopped."""

from __future__ import annotations

import sqlite3


def copy(source: str, target: str) -> None:
    """Copy the SQLite database of a stopped service, as a backup does."""
    with sqlite3.connect(source) as held, sqlite3.connect(target) as made:
        held.backup(made)
    held.close()
    made.close()

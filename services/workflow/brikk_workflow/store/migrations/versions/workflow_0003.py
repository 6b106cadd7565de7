"""Histories chained by hashes, and the order in which what has ended leaves."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "workflow_0003"
down_revision = "workflow_0002"


def upgrade() -> None:
    op.add_column("history", sa.Column("hash", sa.LargeBinary))
    op.add_column("execution", sa.Column("head", sa.LargeBinary))
    ended = sa.text("end_time IS NOT NULL")
    op.create_index(
        "execution_ended",
        "execution",
        ["organization", "end_time", "execution_id"],
        postgresql_where=ended,
        sqlite_where=ended,
    )

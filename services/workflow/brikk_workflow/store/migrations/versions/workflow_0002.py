"""Executions with a priority, a predecessor and a place, and the agents that steps wait for."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "workflow_0002"
down_revision = "workflow_0001"


def upgrade() -> None:
    op.add_column(
        "execution", sa.Column("priority", sa.Integer, nullable=False, server_default="5")
    )
    op.add_column("execution", sa.Column("retry_of", sa.Text))
    op.add_column("execution", sa.Column("concurrency", sa.Integer))
    op.add_column("execution", sa.Column("queue_rank", sa.Integer))
    unowned = sa.text("owner IS NULL AND end_time IS NULL")
    op.create_index(
        "execution_turn",
        "execution",
        ["organization", "priority", "wake_at"],
        postgresql_where=unowned,
        sqlite_where=unowned,
    )
    placed = sa.text("concurrency IS NOT NULL AND end_time IS NULL AND queue_rank IS NULL")
    op.create_index(
        "execution_placed",
        "execution",
        ["organization", "workflow_id"],
        postgresql_where=placed,
        sqlite_where=placed,
    )
    queued = sa.text("queue_rank IS NOT NULL AND end_time IS NULL")
    op.create_index(
        "execution_queued",
        "execution",
        ["organization", "workflow_id", "queue_rank", "execution_id"],
        postgresql_where=queued,
        sqlite_where=queued,
    )
    standing = sa.text("status IN ('queued', 'paused', 'quarantined')")
    op.create_index(
        "execution_standing",
        "execution",
        ["organization", "execution_id"],
        postgresql_where=standing,
        sqlite_where=standing,
    )
    op.create_table(
        "permit",
        sa.Column("organization", sa.Text, primary_key=True),
        sa.Column("replica", sa.Text, primary_key=True),
        sa.Column("places", sa.Integer, nullable=False),
    )
    op.create_index(
        "execution_due",
        "execution",
        ["wake_at"],
        postgresql_where=sa.text("owner IS NULL AND end_time IS NULL"),
        sqlite_where=sa.text("owner IS NULL AND end_time IS NULL"),
    )
    op.create_table(
        "agent_wait",
        sa.Column("organization", sa.Text, primary_key=True),
        sa.Column("capability", sa.Text, primary_key=True),
        sa.Column("execution_id", sa.Text, primary_key=True),
    )
    op.create_index("agent_wait_by_execution", "agent_wait", ["execution_id"])

"""Schedules, and the executions that they are to start."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from brikk_shared.types import JsonText, UtcDateTime

revision = "workflow_0004"
down_revision = "workflow_0003"


def upgrade() -> None:
    op.create_table(
        "schedule",
        sa.Column("uid", sa.Text, primary_key=True),
        sa.Column("organization", sa.Text, nullable=False),
        sa.Column("schedule_id", sa.Text, nullable=False),
        sa.Column("plan", JsonText, nullable=False),
        sa.Column("paused", sa.Boolean, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("runs", sa.BigInteger, nullable=False),
        sa.Column("skipped", sa.BigInteger, nullable=False),
        sa.Column("missed", sa.BigInteger, nullable=False),
        sa.Column("failed", sa.BigInteger, nullable=False),
        sa.Column("position", UtcDateTime, nullable=False),
        sa.Column("next_time", UtcDateTime),
        sa.Column("request_id", sa.Text),
        sa.Column("request_digest", sa.LargeBinary, nullable=False),
        sa.Column("create_time", UtcDateTime, nullable=False),
        sa.Column("update_time", UtcDateTime, nullable=False),
    )
    op.create_index("schedule_by_name", "schedule", ["organization", "schedule_id"], unique=True)
    op.create_index("schedule_by_request", "schedule", ["organization", "request_id"], unique=True)
    op.create_index("schedule_due", "schedule", ["next_time"])
    op.create_table(
        "schedule_run",
        sa.Column("run_key", sa.Text, primary_key=True),
        sa.Column("uid", sa.Text, nullable=False),
        sa.Column("cause", sa.Text, nullable=False),
        sa.Column("tick", UtcDateTime, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("attempt_at", UtcDateTime),
        sa.Column("execution_id", sa.Text),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("create_time", UtcDateTime, nullable=False),
    )
    op.create_index("schedule_run_by_schedule", "schedule_run", ["uid", "create_time", "tick"])
    for name, columns, state in [
        ("schedule_run_waiting", ["uid", "tick"], "waiting"),
        ("schedule_run_pending", ["attempt_at"], "pending"),
    ]:
        where = sa.text(f"state = '{state}'")
        op.create_index(name, "schedule_run", columns, postgresql_where=where, sqlite_where=where)

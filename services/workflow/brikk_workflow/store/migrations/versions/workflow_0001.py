"""Workflows, executions, their history and their inbox."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from brikk_shared.types import JsonText, UtcDateTime

revision = "workflow_0001"
down_revision = None
branch_labels = ("workflow",)


def upgrade() -> None:
    op.create_table(
        "workflow",
        sa.Column("organization", sa.Text, primary_key=True),
        sa.Column("workflow_id", sa.Text, primary_key=True),
        sa.Column("latest_version", sa.Integer, nullable=False),
        sa.Column("create_time", UtcDateTime, nullable=False),
    )
    op.create_table(
        "workflow_version",
        sa.Column("organization", sa.Text, primary_key=True),
        sa.Column("workflow_id", sa.Text, primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("definition", JsonText, nullable=False),
        sa.Column("request_id", sa.Text),
        sa.Column("create_time", UtcDateTime, nullable=False),
    )
    op.create_index(
        "workflow_version_by_request",
        "workflow_version",
        ["organization", "request_id"],
        unique=True,
    )
    op.create_table(
        "execution",
        sa.Column("execution_id", sa.Text, primary_key=True),
        sa.Column("organization", sa.Text, nullable=False),
        sa.Column("workflow_id", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("requested_transition", sa.Text, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("owner", sa.Text),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("wake_at", UtcDateTime),
        sa.Column("inbox_seq", sa.BigInteger, nullable=False),
        sa.Column("inbox_folded", sa.BigInteger, nullable=False),
        sa.Column("snapshot", JsonText, nullable=False),
        sa.Column("input", JsonText, nullable=False),
        sa.Column("output", JsonText),
        sa.Column("labels", JsonText, nullable=False),
        sa.Column("traceparent", sa.Text, nullable=False),
        sa.Column("request_id", sa.Text),
        sa.Column("create_time", UtcDateTime, nullable=False),
        sa.Column("end_time", UtcDateTime),
    )
    op.create_index("execution_by_organization", "execution", ["organization", "execution_id"])
    op.create_index(
        "execution_by_workflow", "execution", ["organization", "workflow_id", "execution_id"]
    )
    op.create_index(
        "execution_by_request", "execution", ["organization", "request_id"], unique=True
    )
    op.create_index(
        "execution_open",
        "execution",
        ["owner", "wake_at"],
        postgresql_where=sa.text("end_time IS NULL"),
        sqlite_where=sa.text("end_time IS NULL"),
    )
    op.create_table(
        "step_output",
        sa.Column("execution_id", sa.Text, primary_key=True),
        sa.Column("step_id", sa.Text, primary_key=True),
        sa.Column("output", JsonText, nullable=False),
    )
    op.create_table(
        "history",
        sa.Column("execution_id", sa.Text, primary_key=True),
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("time", UtcDateTime, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("step_id", sa.Text, nullable=False),
        sa.Column("attributes", JsonText, nullable=False),
    )
    op.create_table(
        "execution_inbox",
        sa.Column("execution_id", sa.Text, primary_key=True),
        sa.Column("inbox_seq", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("attributes", JsonText, nullable=False),
        sa.Column("request_id", sa.Text),
        sa.Column("create_time", UtcDateTime, nullable=False),
    )
    op.create_index(
        "execution_inbox_by_request",
        "execution_inbox",
        ["execution_id", "request_id"],
        unique=True,
    )

"""Webhooks, the events they matched, the deliveries and their attempts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from brikk_shared.types import JsonText, UtcDateTime

revision = "webhooks_0001"
down_revision = None
branch_labels = ("webhooks",)


def upgrade() -> None:
    op.create_table(
        "webhook",
        sa.Column("uid", sa.Text, primary_key=True),
        sa.Column("organization", sa.Text, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("event_types", JsonText, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("retry_schedule", JsonText, nullable=False),
        sa.Column("secret", sa.LargeBinary, nullable=False),
        sa.Column("secret_version", sa.Integer, nullable=False),
        sa.Column("request_id", sa.Text),
        sa.Column("request_digest", sa.LargeBinary, nullable=False),
        sa.Column("create_time", UtcDateTime, nullable=False),
        sa.UniqueConstraint("organization", "id", name="webhook_by_organization"),
        sa.UniqueConstraint("organization", "request_id", name="webhook_by_request"),
    )
    op.create_table(
        "event",
        sa.Column("uid", sa.Text, primary_key=True),
        sa.Column("organization", sa.Text, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "delivery",
        sa.Column("webhook_uid", sa.Text, primary_key=True),
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("event_uid", sa.Text, nullable=False),
        sa.Column("state", sa.Integer, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("response_status", sa.Integer, nullable=False),
        sa.Column("due_at", UtcDateTime),
        sa.Column("claim", sa.Text),
        sa.Column("create_time", UtcDateTime, nullable=False),
        sa.Column("end_time", UtcDateTime),
    )
    for name, column, condition in (
        ("delivery_first", "due_at", "state = 1 AND attempts = 0"),
        ("delivery_retry", "due_at", "state = 1 AND attempts > 0"),
        ("delivery_failed", "id", "state = 3"),
    ):
        op.create_index(
            name,
            "delivery",
            ["webhook_uid", column],
            postgresql_where=sa.text(condition),
            sqlite_where=sa.text(condition),
        )
    op.create_table(
        "attempt",
        sa.Column("webhook_uid", sa.Text, primary_key=True),
        sa.Column("delivery_id", sa.Text, primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("start_time", UtcDateTime, nullable=False),
        sa.Column("latency", sa.BigInteger, nullable=False),
        sa.Column("response_status", sa.Integer, nullable=False),
        sa.Column("error", sa.Text, nullable=False),
    )

"""How endpoints fare and are paced, and which deliveries are held by those before them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from brikk_shared.types import UtcDateTime

revision = "webhooks_0008"
down_revision = "webhooks_0007"


def upgrade() -> None:
    op.create_table(
        "endpoint",
        sa.Column("webhook_uid", sa.Text, primary_key=True),
        sa.Column("paced_until", UtcDateTime),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("failing_since", UtcDateTime),
        sa.Column("failed_at", UtcDateTime),
        sa.Column("pauses", sa.Integer, nullable=False),
        sa.Column("paused_until", UtcDateTime),
        sa.Column("failing", sa.Boolean, nullable=False),
        sa.Column("gone", sa.Boolean, nullable=False),
        sa.Column("announced", sa.Boolean, nullable=False),
    )
    op.add_column(
        "webhook", sa.Column("announcements", sa.Integer, nullable=False, server_default="0")
    )
    condition = sa.text("state = 1 AND ordering_key IS NOT NULL")
    op.create_index(
        "delivery_ordered",
        "delivery",
        ["webhook_uid", "ordering_key", "create_time", "id"],
        postgresql_where=condition,
        sqlite_where=condition,
    )

"""Replays: deliveries that are made once more, many at once."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from brikk_shared.types import JsonText, UtcDateTime

revision = "webhooks_0005"
down_revision = "webhooks_0004"


def upgrade() -> None:
    op.create_table(
        "replay",
        sa.Column("webhook_uid", sa.Text, primary_key=True),
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("delivery_states", JsonText, nullable=False),
        sa.Column("event_types", JsonText, nullable=False),
        sa.Column("start_time", UtcDateTime),
        sa.Column("end_time", UtcDateTime, nullable=False),
        sa.Column("state", sa.Integer, nullable=False),
        sa.Column("after_id", sa.Text, nullable=False),
        sa.Column("replayed", sa.BigInteger, nullable=False),
        sa.Column("erased", sa.BigInteger, nullable=False),
        sa.Column("request_id", sa.Text),
        sa.Column("request_digest", sa.LargeBinary, nullable=False),
        sa.Column("create_time", UtcDateTime, nullable=False),
        sa.Column("complete_time", UtcDateTime),
        sa.UniqueConstraint("webhook_uid", "request_id", name="replay_by_request"),
    )
    op.create_index(
        "replay_running",
        "replay",
        ["webhook_uid"],
        unique=True,
        postgresql_where=sa.text("state = 1"),
        sqlite_where=sa.text("state = 1"),
    )

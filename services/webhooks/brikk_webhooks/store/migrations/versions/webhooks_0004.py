"""Deliveries that are cancelled, sent again, or for a test; bodies that are erased."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "webhooks_0004"
down_revision = "webhooks_0003"


def upgrade() -> None:
    with op.batch_alter_table("event") as event:
        event.alter_column("body", existing_type=sa.LargeBinary, nullable=True)
    op.add_column(
        "delivery", sa.Column("attempts_before", sa.Integer, nullable=False, server_default="0")
    )
    op.add_column("delivery", sa.Column("request_id", sa.Text))
    for name, column, unique, condition in (
        ("delivery_cancelled", "id", False, "state = 4"),
        ("delivery_by_request", "request_id", True, "request_id IS NOT NULL"),
    ):
        op.create_index(
            name,
            "delivery",
            ["webhook_uid", column],
            unique=unique,
            postgresql_where=sa.text(condition),
            sqlite_where=sa.text(condition),
        )

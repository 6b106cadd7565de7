"""What deleted webhooks have left, and events found by age, to be removed a batch at a time."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "webhooks_0009"
down_revision = "webhooks_0008"


def upgrade() -> None:
    op.create_table("deleted_webhook", sa.Column("uid", sa.Text, primary_key=True))
    condition = sa.text("body IS NOT NULL")
    op.create_index(
        "event_bodies", "event", ["uid"], postgresql_where=condition, sqlite_where=condition
    )
    op.create_index("delivery_by_event", "delivery", ["event_uid"])

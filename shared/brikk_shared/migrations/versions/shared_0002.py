"""The outbox is read by destination: its rows belong to many shards."""

from __future__ import annotations

from alembic import op

revision = "shared_0002"
down_revision = "shared_0001"


def upgrade() -> None:
    op.create_index("outbox_by_destination", "outbox", ["destination", "id"])
    op.drop_index("outbox_by_shard", "outbox")

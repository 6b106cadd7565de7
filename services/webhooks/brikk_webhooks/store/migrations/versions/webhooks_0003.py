"""Webhooks that are changed and paused, with bounds of their own, and deliveries in order."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from brikk_shared.types import UtcDateTime

revision = "webhooks_0003"
down_revision = "webhooks_0002"


def upgrade() -> None:
    for name in ("max_rate", "max_in_flight", "revision", "update_time"):
        kind = UtcDateTime if name == "update_time" else sa.Integer
        op.add_column("webhook", sa.Column(name, kind, nullable=False, server_default="0"))
    op.add_column("webhook", sa.Column("state", sa.Integer, nullable=False, server_default="1"))
    for name in ("ordering_key", "state_reason"):
        op.add_column("webhook", sa.Column(name, sa.Text, nullable=False, server_default=""))
    op.add_column("webhook", sa.Column("payload_retention", sa.BigInteger))
    op.execute("UPDATE webhook SET update_time = create_time")
    op.add_column("delivery", sa.Column("ordering_key", sa.Text))

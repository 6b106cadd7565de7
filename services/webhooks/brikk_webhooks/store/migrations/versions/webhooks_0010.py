"""How often the filter of a webhook failed on an event."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "webhooks_0010"
down_revision = "webhooks_0009"


def upgrade() -> None:
    op.add_column(
        "webhook", sa.Column("filter_failures", sa.BigInteger, nullable=False, server_default="0")
    )

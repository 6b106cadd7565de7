"""Webhooks that choose among events, and how much of them is sent."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from brikk_shared.types import JsonText

revision = "webhooks_0006"
down_revision = "webhooks_0005"


def upgrade() -> None:
    for name, kind, default in (
        ("filter", sa.Text, ""),
        ("channels", JsonText, "[]"),
        ("payload_mode", sa.Text, "full"),
    ):
        op.add_column("webhook", sa.Column(name, kind, nullable=False, server_default=default))

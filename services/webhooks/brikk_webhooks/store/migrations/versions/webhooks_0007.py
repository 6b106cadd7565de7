"""Webhooks with headers of their own, and with endpoints that were asked first."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from brikk_shared.types import JsonText

revision = "webhooks_0007"
down_revision = "webhooks_0006"


def upgrade() -> None:
    for name, kind, default in (
        ("header_names", JsonText(), "[]"),
        ("headers_version", sa.Integer(), "0"),
        ("handshake", sa.Boolean(), sa.false()),
    ):
        op.add_column("webhook", sa.Column(name, kind, nullable=False, server_default=default))
    op.create_table(
        "webhook_headers",
        sa.Column("webhook_uid", sa.Text, primary_key=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.Column("sealed_under", sa.Text, nullable=False),
    )

"""Several signing keys per webhook, of two schemes, the replaced ones for a time."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from brikk_shared.crypto import sealed_under
from brikk_shared.types import UtcDateTime

revision = "webhooks_0002"
down_revision = "webhooks_0001"


def upgrade() -> None:
    key = op.create_table(
        "signing_key",
        sa.Column("webhook_uid", sa.Text, primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("scheme", sa.Text, nullable=False),
        sa.Column("public_key", sa.Text, nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.Column("sealed_under", sa.Text, nullable=False),
        sa.Column("request_id", sa.Text),
        sa.Column("request_digest", sa.LargeBinary, nullable=False),
        sa.Column("expire_time", UtcDateTime),
    )
    webhooks = op.get_bind().execute(sa.text("SELECT uid, secret, secret_version FROM webhook"))
    keys = [
        {
            "webhook_uid": row.uid,
            "version": row.secret_version,
            "scheme": "v1",
            "public_key": "",
            "sealed": row.secret,
            "sealed_under": sealed_under(row.secret),
            "request_digest": b"",
        }
        for row in webhooks
    ]
    op.bulk_insert(key, keys)
    op.drop_column("webhook", "secret")
    op.drop_column("webhook", "secret_version")

"""The tables that every service has: leases, audit entries, outbox, marks, dead letters."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from brikk_shared.types import JsonText, RowId, UtcDateTime

revision = "shared_0001"
down_revision = None
branch_labels = ("shared",)


def upgrade() -> None:
    op.create_table(
        "lease",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("expires_at", UtcDateTime, nullable=False),
    )
    op.create_table(
        "audit_entry",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("organization", sa.Text, nullable=False),
        sa.Column("time", UtcDateTime, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("method", sa.Text, nullable=False),
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("peer", sa.Text, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("request_digest", sa.Text, nullable=False),
    )
    op.create_index("audit_entry_by_organization", "audit_entry", ["organization", "id"])
    op.create_table(
        "outbox",
        sa.Column("id", RowId, primary_key=True),
        sa.Column("destination", sa.Text, nullable=False),
        sa.Column("shard", sa.Integer, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
    )
    op.create_index("outbox_by_shard", "outbox", ["destination", "shard", "id"])
    op.create_table(
        "outbox_shard",
        sa.Column("destination", sa.Text, primary_key=True),
        sa.Column("shard", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("generation", sa.Text, nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("batch", JsonText, nullable=False),
    )
    op.create_table(
        "inbox_mark",
        sa.Column("producer", sa.Text, primary_key=True),
        sa.Column("generation", sa.Text, primary_key=True),
        sa.Column("shard", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("position", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "dead_letter",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("producer", sa.Text, nullable=False),
        sa.Column("generation", sa.Text, nullable=False),
        sa.Column("shard", sa.Integer, nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("organization", sa.Text, nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("time", UtcDateTime, nullable=False),
    )

"""The registry: its revision, and the live agents."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from brikk_shared.types import UtcDateTime

revision = "discovery_0001"
down_revision = None
branch_labels = ("discovery",)


def upgrade() -> None:
    registry = op.create_table(
        "registry",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
    )
    op.bulk_insert(registry, [{"id": 1, "revision": 0}])
    op.create_table(
        "agent",
        sa.Column("organization", sa.Text, primary_key=True),
        sa.Column("agent_id", sa.Text, primary_key=True),
        sa.Column("incarnation", sa.Text, nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("definition", sa.Text, nullable=False),
        sa.Column("in_flight", sa.Integer, nullable=False),
        sa.Column("draining", sa.Boolean, nullable=False),
        sa.Column("register_time", UtcDateTime, nullable=False),
        sa.Column("beat_time", UtcDateTime, nullable=False),
        sa.Column("expire_time", UtcDateTime, nullable=False),
        sa.Column("graces", sa.Integer, nullable=False),
    )
    op.create_index("agent_by_expire_time", "agent", ["expire_time"])

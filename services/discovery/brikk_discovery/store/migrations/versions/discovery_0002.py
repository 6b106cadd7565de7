"""Loads, doubts and operators' orders of agents; removals, which watchers and replicas follow."""

from __future__ import annotations

import uuid

import sqlalchemy as sa
from alembic import op

from brikk_shared.types import UtcDateTime

revision = "discovery_0002"
down_revision = "discovery_0001"
branch_labels = None


def upgrade() -> None:
    op.add_column("registry", sa.Column("epoch", sa.Text, nullable=False, server_default=""))
    op.execute(sa.text("UPDATE registry SET epoch = :epoch").bindparams(epoch=str(uuid.uuid4())))
    op.add_column("registry", sa.Column("turn", sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("agent", sa.Column("turn", sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("agent", sa.Column("ready", sa.Boolean, nullable=False, server_default=sa.true()))
    op.add_column("agent", sa.Column("capacity", sa.Integer))
    op.add_column("agent", sa.Column("doubt", sa.Text, nullable=False, server_default=""))
    op.create_index("agent_by_revision", "agent", ["revision"])
    op.create_index("agent_by_turn", "agent", ["turn"])
    op.create_table(
        "memory",
        sa.Column("organization", sa.Text, primary_key=True),
        sa.Column("agent_id", sa.Text, primary_key=True),
        sa.Column("standing_order", sa.Text),
        sa.Column("superseded", sa.Text, nullable=False),
        sa.Column("penalty", sa.Double, nullable=False),
        sa.Column("penalty_time", UtcDateTime),
        sa.Column("live_time", UtcDateTime, nullable=False),
    )
    op.create_table(
        "removal",
        sa.Column("revision", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("organization", sa.Text, nullable=False),
        sa.Column("agent_id", sa.Text, nullable=False),
        sa.Column("time", UtcDateTime, nullable=False),
    )
    op.create_index("removal_by_time", "removal", ["time"])
    op.create_table(
        "outcome",
        sa.Column("organization", sa.Text, primary_key=True),
        sa.Column("agent_id", sa.Text, primary_key=True),
        sa.Column("capability", sa.Text, primary_key=True),
        sa.Column("calls", sa.Double, nullable=False),
        sa.Column("successes", sa.Double, nullable=False),
        sa.Column("latency", sa.Double, nullable=False),
        sa.Column("quality", sa.Double, nullable=False),
        sa.Column("time", UtcDateTime, nullable=False),
    )
    op.create_index("outcome_by_time", "outcome", ["time"])

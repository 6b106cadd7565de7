"""Leases apart from agents: a heartbeat rewrote all that its agent had registered."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from brikk_shared.types import UtcDateTime

revision = "discovery_0003"
down_revision = "discovery_0002"
branch_labels = None


def upgrade() -> None:
    moved = (
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("in_flight", sa.Integer, nullable=False),
        sa.Column("draining", sa.Boolean, nullable=False),
        sa.Column("ready", sa.Boolean, nullable=False),
        sa.Column("capacity", sa.Integer),
        sa.Column("doubt", sa.Text, nullable=False),
        sa.Column("beat_time", UtcDateTime, nullable=False),
        sa.Column("expire_time", UtcDateTime, nullable=False),
        sa.Column("turn", sa.BigInteger, nullable=False),
        sa.Column("graces", sa.Integer, nullable=False),
    )
    op.create_table(
        "agent_lease",
        sa.Column("organization", sa.Text, primary_key=True),
        sa.Column("agent_id", sa.Text, primary_key=True),
        *moved,
        sqlite_with_rowid=False,
        postgresql_with={"fillfactor": "50"},
    )
    names = ", ".join(("organization", "agent_id", *(column.name for column in moved)))
    op.execute(f"INSERT INTO agent_lease ({names}) SELECT {names} FROM agent")
    op.drop_index("agent_by_expire_time", "agent")
    op.drop_index("agent_by_turn", "agent")
    for column in moved:
        op.drop_column("agent", column.name)

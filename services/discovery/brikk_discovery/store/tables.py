"""The tables of the registry."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, MetaData, Table, Text

from brikk_shared.types import UtcDateTime

METADATA = MetaData()

# One row. Its revision grows with every change of the registry, and whoever changes an agent locks
# it first: so revisions become visible in order, and no two writers can block each other for good.
REGISTRY = Table(
    "registry",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("revision", BigInteger, nullable=False),
)

# The live agents, each with its lease.
AGENT = Table(
    "agent",
    METADATA,
    Column("organization", Text, primary_key=True),
    Column("agent_id", Text, primary_key=True),
    Column("incarnation", Text, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("definition", Text, nullable=False),  # JSON of domain.agent.Definition
    Column("in_flight", Integer, nullable=False),
    Column("draining", Boolean, nullable=False),
    Column("register_time", UtcDateTime, nullable=False),
    Column("beat_time", UtcDateTime, nullable=False),
    Column("expire_time", UtcDateTime, nullable=False),
    Column("graces", Integer, nullable=False),  # extensions since the last heartbeat
    Index("agent_by_expire_time", "expire_time"),
)

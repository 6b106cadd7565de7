"""The tables of the registry."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Double, Index, Integer, MetaData, Table, Text

from brikk_shared.types import UtcDateTime

METADATA = MetaData()

# One row. Its revision grows with every change of the registry, and whoever changes an agent locks
# it first: so revisions become visible in order, and no two writers can block each other for good.
# So do turns, which grow with every such lock, also when only heartbeats are written.
REGISTRY = Table(
    "registry",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("revision", BigInteger, nullable=False),
    Column("turn", BigInteger, nullable=False),
    Column("epoch", Text, nullable=False),  # names this registry's history
)

# The live agents. Each has a lease.
AGENT = Table(
    "agent",
    METADATA,
    Column("organization", Text, primary_key=True),
    Column("agent_id", Text, primary_key=True),
    Column("incarnation", Text, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("definition", Text, nullable=False),  # JSON of domain.agent.Definition
    Column("register_time", UtcDateTime, nullable=False),
    Index("agent_by_revision", "revision"),
)

# What heartbeats renew, apart from what is registered: hundreds of rows are written each second,
# which are small, and lie together. No index, which would have to be written each time as well: the
# sweep and the replicas read the table as a whole, which is cheaper.
AGENT_LEASE = Table(
    "agent_lease",
    METADATA,
    Column("organization", Text, primary_key=True),
    Column("agent_id", Text, primary_key=True),
    Column("epoch", BigInteger, nullable=False),
    Column("in_flight", Integer, nullable=False),
    Column("draining", Boolean, nullable=False),
    Column("ready", Boolean, nullable=False),
    Column("capacity", Integer),  # NULL while no heartbeat told one
    Column("doubt", Text, nullable=False),
    Column("beat_time", UtcDateTime, nullable=False),
    Column("expire_time", UtcDateTime, nullable=False),
    Column("turn", BigInteger, nullable=False),  # of the registry, when that was written
    Column("graces", Integer, nullable=False),  # extensions since the last heartbeat
    sqlite_with_rowid=False,
    postgresql_with={"fillfactor": "50"},  # a renewed row stays on its page
)

# What outlasts an agent's registration. A row exists while there is something to remember.
MEMORY = Table(
    "memory",
    METADATA,
    Column("organization", Text, primary_key=True),
    Column("agent_id", Text, primary_key=True),
    Column("standing_order", Text),  # JSON of domain.agent.Order; NULL when there is none
    Column("superseded", Text, nullable=False),  # JSON list of incarnations, the latest last
    Column("penalty", Double, nullable=False),  # for coming and going, as it was at penalty_time
    Column("penalty_time", UtcDateTime),
    Column("live_time", UtcDateTime, nullable=False),  # when the row was written, or its agent left
)

# The agents that left lately, each at the revision at which it did.
REMOVAL = Table(
    "removal",
    METADATA,
    Column("revision", BigInteger, primary_key=True, autoincrement=False),
    Column("organization", Text, nullable=False),
    Column("agent_id", Text, nullable=False),
    Column("time", UtcDateTime, nullable=False),
    Index("removal_by_time", "time"),
)

# What callers experienced lately: sums that were decayed to `time`.
OUTCOME = Table(
    "outcome",
    METADATA,
    Column("organization", Text, primary_key=True),
    Column("agent_id", Text, primary_key=True),
    Column("capability", Text, primary_key=True),
    Column("calls", Double, nullable=False),
    Column("successes", Double, nullable=False),
    Column("latency", Double, nullable=False),
    Column("quality", Double, nullable=False),
    Column("time", UtcDateTime, nullable=False),
    Index("outcome_by_time", "time"),
)

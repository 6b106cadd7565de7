"""The tables that brikk_shared keeps in the database of every service."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, MetaData, Table, Text

from brikk_shared.types import JsonText, RowId, UtcDateTime

METADATA = MetaData()

# Who may do a thing alone, and until when by the database's clock. The epoch grows with each
# holder, which fences off the ones before.
LEASE = Table(
    "lease",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
)

# Who did what: one row per call, written in the transaction of the change itself.
AUDIT_ENTRY = Table(
    "audit_entry",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("organization", Text, nullable=False),
    Column("time", UtcDateTime, nullable=False),
    Column("actor", Text, nullable=False),
    Column("method", Text, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("peer", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("request_digest", Text, nullable=False),
    Index("audit_entry_by_organization", "organization", "id"),
)

# Events that have yet to reach a destination: one row for each of its destinations.
OUTBOX = Table(
    "outbox",
    METADATA,
    Column("id", RowId, primary_key=True),
    Column("destination", Text, nullable=False),
    Column("shard", Integer, nullable=False),
    Column("subject", Text, nullable=False),
    Column("payload", LargeBinary, nullable=False),  # a serialised brikk.event.v1.Event
    Index("outbox_by_destination", "destination", "id"),
)

# How far a shard has come, and the one batch of it that is under way.
OUTBOX_SHARD = Table(
    "outbox_shard",
    METADATA,
    Column("destination", Text, primary_key=True),
    Column("shard", Integer, primary_key=True, autoincrement=False),
    Column("generation", Text, nullable=False),
    Column("position", BigInteger, nullable=False),  # the highest that was ever given to a row
    Column("batch", JsonText, nullable=False),  # row ids; the last of them has `position`
)

# How far this service has taken the events of each producer.
INBOX_MARK = Table(
    "inbox_mark",
    METADATA,
    Column("producer", Text, primary_key=True),
    Column("generation", Text, primary_key=True),
    Column("shard", Integer, primary_key=True, autoincrement=False),
    Column("position", BigInteger, nullable=False),
)

# Events that will never be taken, with the reason.
DEAD_LETTER = Table(
    "dead_letter",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("producer", Text, nullable=False),
    Column("generation", Text, nullable=False),
    Column("shard", Integer, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("organization", Text, nullable=False),
    Column("payload", LargeBinary, nullable=False),  # a serialised brikk.event.v1.Event
    Column("reason", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("time", UtcDateTime, nullable=False),
)

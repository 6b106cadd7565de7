"""The tables of the monitoring service: what is not measured, but said or found."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from brikk_shared.types import JsonText, RowId, UtcDateTime

METADATA = MetaData()

ALERT_RULE = Table(
    "alert_rule",
    METADATA,
    # One life of a rule. One that is deleted and made again under its id has another.
    Column("uid", Text, primary_key=True),
    Column("organization", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("definition", JsonText, nullable=False),  # what people say of it, see `rules`
    Column("request_id", Text),
    Column("request_digest", LargeBinary, nullable=False),
    Column("create_time", UtcDateTime, nullable=False),
    Column("update_time", UtcDateTime, nullable=False),
    Column("revision", Integer, nullable=False),
    # One replica at a time evaluates the rules of a shard.
    Column("shard", Integer, nullable=False),
    Column("due_at", UtcDateTime),  # NULL while it is disabled
    UniqueConstraint("organization", "id", name="alert_rule_by_organization"),
    UniqueConstraint("organization", "request_id", name="alert_rule_by_request"),
    Index("alert_rule_due", "shard", "due_at"),
)

# One for each label set of a rule whose condition has held; it stays when the rule is deleted.
ALERT = Table(
    "alert",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("organization", Text, nullable=False),
    Column("rule_uid", Text, nullable=False),
    Column("rule_id", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),  # of the dimensions of its group
    Column("severity", Integer, nullable=False),
    Column("labels", JsonText, nullable=False),
    Column("annotations", JsonText, nullable=False),
    Column("state", Integer, nullable=False),
    Column("value", Double, nullable=False),
    Column("pending_since", UtcDateTime, nullable=False),
    Column("firing_since", UtcDateTime),
    Column("released_at", UtcDateTime),  # since when it only fires on
    Column("resolved_at", UtcDateTime),
    Column("acknowledged_at", UtcDateTime),
    Column("acknowledger", Text, nullable=False),
    Column("snoozed_until", UtcDateTime),
    Column("turns", JsonText, nullable=False),  # when it lately began to fire, in us
    Column("episode", Integer, nullable=False),
    Column("sequence", BigInteger, nullable=False),  # of its transitions, and so of its events
    UniqueConstraint("rule_uid", "fingerprint", name="alert_by_rule"),
    Index("alert_by_organization", "organization", "id"),
    Index(
        "alert_unresolved",
        "rule_uid",
        postgresql_where=text("state <> 5"),
        sqlite_where=text("state <> 5"),
    ),
)

ALERT_TRANSITION = Table(
    "alert_transition",
    METADATA,
    Column("id", RowId, primary_key=True),
    Column("organization", Text, nullable=False),
    Column("alert_id", Text, nullable=False),
    Column("episode", Integer, nullable=False),
    Column("time", UtcDateTime, nullable=False),
    Column("state", Integer, nullable=False),
    Column("value", Double, nullable=False),
    Column("actor", Text, nullable=False),  # empty when the rule did it
    Column("reason", Text, nullable=False),
    Index("alert_transition_by_alert", "alert_id", "id"),
    Index("alert_transition_by_organization", "organization", "id"),
)

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
    Column("routed_episode", Integer, nullable=False, server_default="0"),  # see `routing`
    UniqueConstraint("rule_uid", "fingerprint", name="alert_by_rule"),
    Index("alert_by_organization", "organization", "id"),
    Index(
        "alert_unresolved",
        "rule_uid",
        postgresql_where=text("state <> 5"),
        sqlite_where=text("state <> 5"),
    ),
    Index(
        "alert_firing",
        "organization",
        postgresql_where=text("state IN (2, 3, 4)"),
        sqlite_where=text("state IN (2, 3, 4)"),
    ),
    Index(
        "alert_unrouted",
        "organization",
        "id",
        postgresql_where=text("state IN (2, 3, 4) AND routed_episode <> episode"),
        sqlite_where=text("state IN (2, 3, 4) AND routed_episode <> episode"),
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

# What people say of who is told: silences, maintenance windows, policies, the routes.
ALERTING_SETTING = Table(
    "alerting_setting",
    METADATA,
    Column("organization", Text, primary_key=True),
    Column("collection", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("content", JsonText, nullable=False),
    Column("request_id", Text),
    Column("request_digest", LargeBinary, nullable=False),
    Column("create_time", UtcDateTime, nullable=False),
    Column("update_time", UtcDateTime, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("end_time", UtcDateTime),  # of a silence
    UniqueConstraint(
        "organization", "collection", "request_id", name="alerting_setting_by_request"
    ),
    Index("alerting_setting_ended", "end_time"),
)

# Alerts of a route that are told of together.
ALERT_GROUP = Table(
    "alert_group",
    METADATA,
    Column("uid", Text, primary_key=True),
    Column("organization", Text, nullable=False),
    Column("shard", Integer, nullable=False),  # one replica at a time tells of its groups
    Column("route", Text, nullable=False),
    Column("labels", JsonText, nullable=False),
    Column("due_at", UtcDateTime, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("memory", JsonText, nullable=False),  # what who was told
    UniqueConstraint("organization", "route", "labels", name="alert_group_by_labels"),
    Index("alert_group_due", "shard", "due_at"),
)

ALERT_GROUP_MEMBER = Table(
    "alert_group_member",
    METADATA,
    Column("group_uid", Text, primary_key=True),
    Column("alert_id", Text, primary_key=True),
    Index("alert_group_member_by_alert", "alert_id"),
)

# What channels are told, or, with a reason, are not: the queue of what is to be sent.
NOTIFICATION = Table(
    "notification",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("organization", Text, nullable=False),
    Column("channel", Text, nullable=False),  # its id; empty when none was to be told
    Column("state", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Column("group_uid", Text, nullable=False),
    Column("group_labels", JsonText, nullable=False),
    Column("level", Integer, nullable=False),
    Column("firing", JsonText, nullable=False),  # ids of alerts
    Column("resolved", JsonText, nullable=False),
    Column("dedup_key", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("create_time", UtcDateTime, nullable=False),
    Column("next_attempt_at", UtcDateTime),  # NULL in terminal states
    Column("ended_at", UtcDateTime),
    UniqueConstraint("dedup_key", name="notification_once"),
    Index("notification_by_organization", "organization", "id"),
    Index(
        "notification_due",
        "next_attempt_at",
        postgresql_where=text("state = 1"),
        sqlite_where=text("state = 1"),
    ),
)

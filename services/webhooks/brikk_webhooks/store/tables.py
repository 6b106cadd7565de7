"""The tables of the webhooks service."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from brikk_shared.types import JsonText, UtcDateTime

METADATA = MetaData()

WEBHOOK = Table(
    "webhook",
    METADATA,
    # One life of a webhook. One that is deleted and made again under its id has another.
    Column("uid", Text, primary_key=True),
    Column("organization", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("event_types", JsonText, nullable=False),
    Column("description", Text, nullable=False),
    Column("retry_schedule", JsonText, nullable=False),  # microseconds
    Column("request_id", Text),
    Column("request_digest", LargeBinary, nullable=False),
    Column("create_time", UtcDateTime, nullable=False),
    Column("max_rate", Integer, nullable=False),  # requests per minute; 0 for no bound
    Column("max_in_flight", Integer, nullable=False),  # 0 for the service's bound
    Column("ordering_key", Text, nullable=False),  # where it stands in an event; empty for no order
    Column("payload_retention", BigInteger),  # microseconds; NULL for the service's time
    Column("filter", Text, nullable=False),  # empty for none
    Column("channels", JsonText, nullable=False),
    Column("payload_mode", Text, nullable=False),
    Column("header_names", JsonText, nullable=False),
    Column("headers_version", Integer, nullable=False),  # the revision that they came with
    Column("handshake", Boolean, nullable=False),
    Column("state", Integer, nullable=False),
    Column("state_reason", Text, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("update_time", UtcDateTime, nullable=False),
    Column("announcements", Integer, nullable=False),  # how often people were told of it
    Column("filter_failures", BigInteger, nullable=False),  # since the filter was set
    UniqueConstraint("organization", "id", name="webhook_by_organization"),
    UniqueConstraint("organization", "request_id", name="webhook_by_request"),
)

# Headers that requests to a webhook carry besides, as one JSON object.
HEADERS = Table(
    "webhook_headers",
    METADATA,
    Column("webhook_uid", Text, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("sealed_under", Text, nullable=False),  # key of the ring, as `sealed` names it too
)

# Webhooks that are deleted, until all that they have left is.
DELETED_WEBHOOK = Table("deleted_webhook", METADATA, Column("uid", Text, primary_key=True))

SIGNING_KEY = Table(
    "signing_key",
    METADATA,
    Column("webhook_uid", Text, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("scheme", Text, nullable=False),
    Column("public_key", Text, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("sealed_under", Text, nullable=False),  # key of the ring, as `sealed` names it too
    Column("request_id", Text),
    Column("request_digest", LargeBinary, nullable=False),
    Column("expire_time", UtcDateTime),
)

EVENT = Table(
    "event",
    METADATA,
    # Ours: the id of an event is unique per source only, and a source can go back in time.
    Column("uid", Text, primary_key=True),
    Column("organization", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("body", LargeBinary),  # the very bytes that are signed and sent; NULL when erased
    Index(
        "event_bodies",
        "uid",
        postgresql_where=text("body IS NOT NULL"),
        sqlite_where=text("body IS NOT NULL"),
    ),
)

# What is known of an endpoint beside its webhook; most have no row.
ENDPOINT = Table(
    "endpoint",
    METADATA,
    Column("webhook_uid", Text, primary_key=True),
    Column("paced_until", UtcDateTime),  # where its requests have led, see `pace`
    Column("failures", Integer, nullable=False),  # from here on, see `health`
    Column("failing_since", UtcDateTime),
    Column("failed_at", UtcDateTime),
    Column("pauses", Integer, nullable=False),
    Column("paused_until", UtcDateTime),
    Column("failing", Boolean, nullable=False),
    Column("gone", Boolean, nullable=False),
    Column("announced", Boolean, nullable=False),  # that it fails
)

# This table is the queue. A delivery may be taken when it is due; taking it sets the claim and
# moves due_at to the end of the lease, so that one whose worker died comes due again by itself.
# One without due_at is held until what comes before it in its order has ended.
DELIVERY = Table(
    "delivery",
    METADATA,
    Column("webhook_uid", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("event_uid", Text, nullable=False),
    Column("state", Integer, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("response_status", Integer, nullable=False),
    Column("due_at", UtcDateTime),
    Column("claim", Text),
    Column("create_time", UtcDateTime, nullable=False),
    Column("end_time", UtcDateTime),
    Column("ordering_key", Text),  # of one key, one goes after the other; NULL for no order
    # Those before it was last sent again: the retry schedule begins after them.
    Column("attempts_before", Integer, nullable=False),
    Column("request_id", Text),  # of whoever had it sent
    # A lane each for first attempts and for retries; the conditions are those of `queue.Lane`.
    *(
        Index(
            f"delivery_{lane}",
            "webhook_uid",
            "due_at",
            postgresql_where=text(condition),
            sqlite_where=text(condition),
        )
        for lane, condition in (
            ("first", "state = 1 AND attempts = 0"),
            ("retry", "state = 1 AND attempts > 0"),
        )
    ),
    *(
        Index(
            f"delivery_{name}",
            "webhook_uid",
            "id",
            postgresql_where=text(condition),
            sqlite_where=text(condition),
        )
        for name, condition in (("failed", "state = 3"), ("cancelled", "state = 4"))
    ),
    Index(
        "delivery_ordered",
        "webhook_uid",
        "ordering_key",
        "create_time",
        "id",
        postgresql_where=text("state = 1 AND ordering_key IS NOT NULL"),
        sqlite_where=text("state = 1 AND ordering_key IS NOT NULL"),
    ),
    Index("delivery_by_event", "event_uid"),
    Index(
        "delivery_by_request",
        "webhook_uid",
        "request_id",
        unique=True,
        postgresql_where=text("request_id IS NOT NULL"),
        sqlite_where=text("request_id IS NOT NULL"),
    ),
)

ATTEMPT = Table(
    "attempt",
    METADATA,
    Column("webhook_uid", Text, primary_key=True),
    Column("delivery_id", Text, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("start_time", UtcDateTime, nullable=False),
    Column("latency", BigInteger, nullable=False),  # microseconds
    Column("response_status", Integer, nullable=False),
    Column("error", Text, nullable=False),
)

REPLAY = Table(
    "replay",
    METADATA,
    Column("webhook_uid", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("delivery_states", JsonText, nullable=False),
    Column("event_types", JsonText, nullable=False),
    Column("start_time", UtcDateTime),
    Column("end_time", UtcDateTime, nullable=False),
    Column("state", Integer, nullable=False),
    Column("after_id", Text, nullable=False),  # of the delivery that it took last
    Column("replayed", BigInteger, nullable=False),
    Column("erased", BigInteger, nullable=False),
    Column("request_id", Text),
    Column("request_digest", LargeBinary, nullable=False),
    Column("create_time", UtcDateTime, nullable=False),
    Column("complete_time", UtcDateTime),
    UniqueConstraint("webhook_uid", "request_id", name="replay_by_request"),
    Index(
        "replay_running",
        "webhook_uid",
        unique=True,
        postgresql_where=text("state = 1"),
        sqlite_where=text("state = 1"),
    ),
)

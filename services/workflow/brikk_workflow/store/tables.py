"""The tables of the workflow service."""

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
    text,
)

from brikk_shared.types import JsonText, UtcDateTime

METADATA = MetaData()
NOT_SUCCEEDED = text("status <> 'succeeded'")
"""What people look for by state; a query must say it in these words for the index to be used."""
OPEN_CHILD = text("end_time IS NULL AND substr(request_id, 1, 11) = 'executions/'")
"""Those under way that another execution runs; in these words, too."""

WORKFLOW = Table(
    "workflow",
    METADATA,
    Column("organization", Text, primary_key=True),
    Column("workflow_id", Text, primary_key=True),
    Column("latest_version", Integer, nullable=False),
    Column("create_time", UtcDateTime, nullable=False),
)

# Never changed: an update of a workflow adds a row.
WORKFLOW_VERSION = Table(
    "workflow_version",
    METADATA,
    Column("organization", Text, primary_key=True),
    Column("workflow_id", Text, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("definition", JsonText, nullable=False),
    Column("request_id", Text),
    Column("create_time", UtcDateTime, nullable=False),
    Index("workflow_version_by_request", "organization", "request_id", unique=True),
)

EXECUTION = Table(
    "execution",
    METADATA,
    Column("execution_id", Text, primary_key=True),
    Column("organization", Text, nullable=False),
    Column("workflow_id", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("status", Text, nullable=False),
    Column("requested_transition", Text, nullable=False),
    # Position of the newest history row. Every transition moves it, which guards against a second.
    Column("seq", BigInteger, nullable=False),
    # The replica that holds it in memory, and the fencing token that grows with each change of it.
    Column("owner", Text),
    Column("epoch", BigInteger, nullable=False),
    # When somebody has to look at it if nobody holds it.
    Column("wake_at", UtcDateTime),
    # Wishes recorded in the inbox, and how many of them were folded.
    Column("inbox_seq", BigInteger, nullable=False),
    Column("inbox_folded", BigInteger, nullable=False),
    Column("snapshot", JsonText, nullable=False),
    Column("input", JsonText, nullable=False),
    Column("output", JsonText),
    Column("labels", JsonText, nullable=False),
    Column("traceparent", Text, nullable=False),
    Column("request_id", Text),
    Column("create_time", UtcDateTime, nullable=False),
    Column("end_time", UtcDateTime),
    # 0 to 9: who is admitted first where executions queue.
    Column("priority", Integer, nullable=False, server_default="5"),
    # The ended execution whose results it goes on with.
    Column("retry_of", Text),
    # Most executions of its workflow that may run beside it, itself included; NULL for any number.
    Column("concurrency", Integer),
    # While it waits for a place: 9 minus its priority, lowest first. The others hold a place until
    # they end, also while they are paused.
    Column("queue_rank", Integer),
    # The hash of its newest history row; NULL when none was chained.
    Column("head", LargeBinary),
    Index("execution_by_time", "organization", "create_time", "execution_id"),
    Index(
        "execution_by_workflow_and_time",
        "organization",
        "workflow_id",
        "create_time",
        "execution_id",
    ),
    Index("execution_by_request", "organization", "request_id", unique=True),
    Index(
        "execution_open",
        "owner",
        "wake_at",
        postgresql_where=text("end_time IS NULL"),
        sqlite_where=text("end_time IS NULL"),
    ),
    # What a claim looks for.
    Index(
        "execution_due",
        "wake_at",
        postgresql_where=text("owner IS NULL AND end_time IS NULL"),
        sqlite_where=text("owner IS NULL AND end_time IS NULL"),
    ),
    # Whose turn it is when more are due than are claimed.
    Index(
        "execution_turn",
        "organization",
        "priority",
        "wake_at",
        postgresql_where=text("owner IS NULL AND end_time IS NULL"),
        sqlite_where=text("owner IS NULL AND end_time IS NULL"),
    ),
    # Those that hold a place of their workflow, and those that wait for any: workflows without a
    # limit pay for neither.
    Index(
        "execution_placed",
        "organization",
        "workflow_id",
        postgresql_where=text(
            "concurrency IS NOT NULL AND end_time IS NULL AND queue_rank IS NULL"
        ),
        sqlite_where=text("concurrency IS NOT NULL AND end_time IS NULL AND queue_rank IS NULL"),
    ),
    Index(
        "execution_queued",
        "organization",
        "workflow_id",
        "queue_rank",
        "execution_id",
        postgresql_where=text("queue_rank IS NOT NULL AND end_time IS NULL"),
        sqlite_where=text("queue_rank IS NOT NULL AND end_time IS NULL"),
    ),
    # Those that a crash may have kept from being cancelled with the one above.
    Index(
        "execution_open_child",
        "request_id",
        postgresql_where=OPEN_CHILD,
        sqlite_where=OPEN_CHILD,
    ),
    # What leaves next.
    Index(
        "execution_ended",
        "organization",
        "end_time",
        "execution_id",
        postgresql_where=text("end_time IS NOT NULL"),
        sqlite_where=text("end_time IS NOT NULL"),
    ),
    # For people who look for those under way, or in need of them: few among many that succeeded.
    Index(
        "execution_by_state",
        "organization",
        "status",
        "create_time",
        "execution_id",
        postgresql_where=NOT_SUCCEEDED,
        sqlite_where=NOT_SUCCEEDED,
    ),
)

# Executions by label, an index such as neither store has: triggers keep it, so that whoever writes
# executions need not, and those without labels cost nothing.
EXECUTION_LABEL = Table(
    "execution_label",
    METADATA,
    Column("organization", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("value", Text, primary_key=True),
    Column("create_time", UtcDateTime, primary_key=True, autoincrement=False),
    Column("execution_id", Text, primary_key=True),
    sqlite_with_rowid=False,
)

# What is asked of many executions, and how far that has come: those up to `after` are done.
BATCH = Table(
    "batch",
    METADATA,
    Column("batch_id", Text, primary_key=True),
    Column("organization", Text, nullable=False),
    Column("verb", Text, nullable=False),
    Column("search", JsonText, nullable=False),
    Column("reason", Text, nullable=False),
    # The version to retry with: `workflows/{workflow}/versions/{version}`, or less; may be empty.
    Column("workflow", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("matched", BigInteger, nullable=False),
    Column("done", BigInteger, nullable=False),
    Column("failed", BigInteger, nullable=False),
    Column("failures", JsonText, nullable=False),
    Column("after_time", UtcDateTime),
    Column("after_id", Text),
    Column("request_id", Text),
    Column("create_time", UtcDateTime, nullable=False),
    Column("end_time", UtcDateTime),
    Index("batch_by_organization", "organization", "batch_id"),
    Index("batch_by_request", "organization", "request_id", unique=True),
    Index(
        "batch_open",
        "batch_id",
        postgresql_where=text("end_time IS NULL"),
        sqlite_where=text("end_time IS NULL"),
    ),
)

# What steps returned: apart from the snapshot, so that a transition never rewrites payloads.
STEP_OUTPUT = Table(
    "step_output",
    METADATA,
    Column("execution_id", Text, primary_key=True),
    Column("step_id", Text, primary_key=True),
    Column("output", JsonText, nullable=False),
)

HISTORY = Table(
    "history",
    METADATA,
    Column("execution_id", Text, primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("time", UtcDateTime, nullable=False),
    Column("type", Text, nullable=False),
    Column("step_id", Text, nullable=False),
    Column("attributes", JsonText, nullable=False),
    # Chained to that of the row before; NULL in rows that are older than the chain.
    Column("hash", LargeBinary),
)

# Wishes of people and programs on their way to the replica that holds the execution.
EXECUTION_INBOX = Table(
    "execution_inbox",
    METADATA,
    Column("execution_id", Text, primary_key=True),
    Column("inbox_seq", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", Text, nullable=False),
    Column("attributes", JsonText, nullable=False),
    Column("request_id", Text),
    Column("create_time", UtcDateTime, nullable=False),
    Index("execution_inbox_by_request", "execution_id", "request_id", unique=True),
)

# What agents tell of attempts under way, as the replica that holds the execution heard it lately.
PROGRESS = Table(
    "progress",
    METADATA,
    Column("execution_id", Text, primary_key=True),
    Column("attempts", JsonText, nullable=False),
)

# Executions out of memory whose steps wait for an agent: a change of the capability wakes them.
# What else an agent must be stands behind the capability, as `domain.asking` writes it.
AGENT_WAIT = Table(
    "agent_wait",
    METADATA,
    Column("organization", Text, primary_key=True),
    Column("capability", Text, primary_key=True),
    Column("execution_id", Text, primary_key=True),
    Index("agent_wait_by_execution", "execution_id"),
)

# Places under its organisation's limit that a replica may give without asking, and those it just
# gave. They count as taken while the replica lives.
PERMIT = Table(
    "permit",
    METADATA,
    Column("organization", Text, primary_key=True),
    Column("replica", Text, primary_key=True),
    Column("places", Integer, nullable=False),
)

SCHEDULE = Table(
    "schedule",
    METADATA,
    # Its own and no other's, also after it was deleted and made again under its name.
    Column("uid", Text, primary_key=True),
    Column("organization", Text, nullable=False),
    Column("schedule_id", Text, nullable=False),
    Column("plan", JsonText, nullable=False),
    Column("paused", Boolean, nullable=False),
    Column("reason", Text, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("runs", BigInteger, nullable=False),
    Column("skipped", BigInteger, nullable=False),
    Column("missed", BigInteger, nullable=False),
    Column("failed", BigInteger, nullable=False),
    # The newest tick that is decided, and when the next one is due.
    Column("position", UtcDateTime, nullable=False),
    Column("next_time", UtcDateTime),
    Column("request_id", Text),
    Column("request_digest", LargeBinary, nullable=False),
    Column("create_time", UtcDateTime, nullable=False),
    Column("update_time", UtcDateTime, nullable=False),
    Index("schedule_by_name", "organization", "schedule_id", unique=True),
    Index("schedule_by_request", "organization", "request_id", unique=True),
    Index("schedule_due", "next_time"),
)

# Executions that a schedule is to start, and the newest ones that it started. Decided together with
# the schedule's next tick; whoever starts them may die and another may do so again, for the key is
# the request id of the execution.
SCHEDULE_RUN = Table(
    "schedule_run",
    METADATA,
    Column("run_key", Text, primary_key=True),
    Column("uid", Text, nullable=False),
    Column("cause", Text, nullable=False),
    Column("tick", UtcDateTime, nullable=False),
    Column("state", Text, nullable=False),
    # While it is pending: when anybody may start it, should whoever is at it not have.
    Column("attempt_at", UtcDateTime),
    Column("execution_id", Text),
    Column("error", Text, nullable=False),
    Column("create_time", UtcDateTime, nullable=False),
    Index("schedule_run_by_schedule", "uid", "create_time", "tick"),
    Index(
        "schedule_run_waiting",
        "uid",
        "tick",
        postgresql_where=text("state = 'waiting'"),
        sqlite_where=text("state = 'waiting'"),
    ),
    Index(
        "schedule_run_pending",
        "attempt_at",
        postgresql_where=text("state = 'pending'"),
        sqlite_where=text("state = 'pending'"),
    ),
)

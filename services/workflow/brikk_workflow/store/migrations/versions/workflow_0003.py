"""Histories chained by hashes, the order in which what has ended leaves, search and batches."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from brikk_shared.types import JsonText, UtcDateTime

revision = "workflow_0003"
down_revision = "workflow_0002"


def upgrade() -> None:
    op.add_column("history", sa.Column("hash", sa.LargeBinary))
    op.add_column("execution", sa.Column("head", sa.LargeBinary))
    ended = sa.text("end_time IS NOT NULL")
    op.create_index(
        "execution_ended",
        "execution",
        ["organization", "end_time", "execution_id"],
        postgresql_where=ended,
        sqlite_where=ended,
    )
    _make_searchable()
    _keep_batches()


def _make_searchable() -> None:
    for index in ("execution_by_organization", "execution_by_workflow", "execution_standing"):
        op.drop_index(index, table_name="execution")
    time = ["create_time", "execution_id"]
    op.create_index("execution_by_time", "execution", ["organization", *time])
    op.create_index(
        "execution_by_workflow_and_time", "execution", ["organization", "workflow_id", *time]
    )
    not_succeeded = sa.text("status <> 'succeeded'")
    op.create_index(
        "execution_by_state",
        "execution",
        ["organization", "status", *time],
        postgresql_where=not_succeeded,
        sqlite_where=not_succeeded,
    )
    op.create_table(
        "execution_label",
        sa.Column("organization", sa.Text, primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("value", sa.Text, primary_key=True),
        sa.Column("create_time", UtcDateTime, primary_key=True, autoincrement=False),
        sa.Column("execution_id", sa.Text, primary_key=True),
        sqlite_with_rowid=False,
    )
    sqlite = op.get_bind().dialect.name == "sqlite"
    members = "json_each({})" if sqlite else "json_each_text(CAST({} AS json))"
    op.execute(
        "INSERT INTO execution_label"
        " SELECT organization, member.key, member.value, create_time, execution_id"
        f" FROM execution, {members.format('labels')} AS member WHERE labels <> '{{}}'"
    )
    enter = (
        "INSERT INTO execution_label SELECT NEW.organization, member.key, member.value,"
        f" NEW.create_time, NEW.execution_id FROM {members.format('NEW.labels')} AS member;"
    )
    leave = (
        "DELETE FROM execution_label WHERE (organization, key, value, create_time, execution_id)"
        " IN (SELECT OLD.organization, member.key, member.value, OLD.create_time,"
        f" OLD.execution_id FROM {members.format('OLD.labels')} AS member);"
    )
    for name, event, row, body in [
        ("execution_labelled", "INSERT", "NEW", enter),
        ("execution_unlabelled", "DELETE", "OLD", leave),
    ]:
        if not sqlite:
            op.execute(
                f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql"
                f" AS $$ BEGIN {body} RETURN NULL; END $$"
            )
        action = f"BEGIN {body} END" if sqlite else f"EXECUTE FUNCTION {name}()"
        op.execute(
            f"CREATE TRIGGER {name} AFTER {event} ON execution FOR EACH ROW"
            f" WHEN ({row}.labels <> '{{}}') {action}"
        )


def _keep_batches() -> None:
    op.create_table(
        "batch",
        sa.Column("batch_id", sa.Text, primary_key=True),
        sa.Column("organization", sa.Text, nullable=False),
        sa.Column("verb", sa.Text, nullable=False),
        sa.Column("search", JsonText, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("workflow", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("matched", sa.BigInteger, nullable=False),
        sa.Column("done", sa.BigInteger, nullable=False),
        sa.Column("failed", sa.BigInteger, nullable=False),
        sa.Column("failures", JsonText, nullable=False),
        sa.Column("after_time", UtcDateTime),
        sa.Column("after_id", sa.Text),
        sa.Column("request_id", sa.Text),
        sa.Column("create_time", UtcDateTime, nullable=False),
        sa.Column("end_time", UtcDateTime),
    )
    op.create_index("batch_by_organization", "batch", ["organization", "batch_id"])
    op.create_index("batch_by_request", "batch", ["organization", "request_id"], unique=True)
    open_ = sa.text("end_time IS NULL")
    op.create_index("batch_open", "batch", ["batch_id"], postgresql_where=open_, sqlite_where=open_)

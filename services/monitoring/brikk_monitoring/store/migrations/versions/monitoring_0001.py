"""Alert rules, alerts and how these changed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from brikk_shared.types import JsonText, RowId, UtcDateTime

revision = "monitoring_0001"
down_revision = None
branch_labels = ("monitoring",)


def upgrade() -> None:
    op.create_table(
        "alert_rule",
        sa.Column("uid", sa.Text, primary_key=True),
        sa.Column("organization", sa.Text, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("definition", JsonText, nullable=False),
        sa.Column("request_id", sa.Text),
        sa.Column("request_digest", sa.LargeBinary, nullable=False),
        sa.Column("create_time", UtcDateTime, nullable=False),
        sa.Column("update_time", UtcDateTime, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("shard", sa.Integer, nullable=False),
        sa.Column("due_at", UtcDateTime),
        sa.UniqueConstraint("organization", "id", name="alert_rule_by_organization"),
        sa.UniqueConstraint("organization", "request_id", name="alert_rule_by_request"),
    )
    op.create_index("alert_rule_due", "alert_rule", ["shard", "due_at"])
    op.create_table(
        "alert",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("organization", sa.Text, nullable=False),
        sa.Column("rule_uid", sa.Text, nullable=False),
        sa.Column("rule_id", sa.Text, nullable=False),
        sa.Column("fingerprint", sa.Text, nullable=False),
        sa.Column("severity", sa.Integer, nullable=False),
        sa.Column("labels", JsonText, nullable=False),
        sa.Column("annotations", JsonText, nullable=False),
        sa.Column("state", sa.Integer, nullable=False),
        sa.Column("value", sa.Double, nullable=False),
        sa.Column("pending_since", UtcDateTime, nullable=False),
        sa.Column("firing_since", UtcDateTime),
        sa.Column("released_at", UtcDateTime),
        sa.Column("resolved_at", UtcDateTime),
        sa.Column("acknowledged_at", UtcDateTime),
        sa.Column("acknowledger", sa.Text, nullable=False),
        sa.Column("snoozed_until", UtcDateTime),
        sa.Column("turns", JsonText, nullable=False),
        sa.Column("episode", sa.Integer, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("rule_uid", "fingerprint", name="alert_by_rule"),
    )
    op.create_index("alert_by_organization", "alert", ["organization", "id"])
    unresolved = sa.text("state <> 5")
    op.create_index(
        "alert_unresolved",
        "alert",
        ["rule_uid"],
        postgresql_where=unresolved,
        sqlite_where=unresolved,
    )
    op.create_table(
        "alert_transition",
        sa.Column("id", RowId, primary_key=True),
        sa.Column("organization", sa.Text, nullable=False),
        sa.Column("alert_id", sa.Text, nullable=False),
        sa.Column("episode", sa.Integer, nullable=False),
        sa.Column("time", UtcDateTime, nullable=False),
        sa.Column("state", sa.Integer, nullable=False),
        sa.Column("value", sa.Double, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
    )
    op.create_index("alert_transition_by_alert", "alert_transition", ["alert_id", "id"])
    op.create_index("alert_transition_by_organization", "alert_transition", ["organization", "id"])

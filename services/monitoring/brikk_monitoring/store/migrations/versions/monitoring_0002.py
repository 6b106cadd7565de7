"""What people say of who is told of alerts, and the groups that they are told of in."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from brikk_shared.types import JsonText, UtcDateTime

revision = "monitoring_0002"
down_revision = "monitoring_0001"


def upgrade() -> None:
    op.create_table(
        "alerting_setting",
        sa.Column("organization", sa.Text, primary_key=True),
        sa.Column("collection", sa.Text, primary_key=True),
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("content", JsonText, nullable=False),
        sa.Column("request_id", sa.Text),
        sa.Column("request_digest", sa.LargeBinary, nullable=False),
        sa.Column("create_time", UtcDateTime, nullable=False),
        sa.Column("update_time", UtcDateTime, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("end_time", UtcDateTime),
        sa.UniqueConstraint(
            "organization", "collection", "request_id", name="alerting_setting_by_request"
        ),
    )
    op.create_index("alerting_setting_ended", "alerting_setting", ["end_time"])
    op.add_column(
        "alert", sa.Column("routed_episode", sa.Integer, nullable=False, server_default="0")
    )
    for name, columns, condition in (
        ("alert_firing", ["organization"], "state IN (2, 3, 4)"),
        (
            "alert_unrouted",
            ["organization", "id"],
            "state IN (2, 3, 4) AND routed_episode <> episode",
        ),
    ):
        op.create_index(
            name,
            "alert",
            columns,
            postgresql_where=sa.text(condition),
            sqlite_where=sa.text(condition),
        )
    op.create_table(
        "alert_group",
        sa.Column("uid", sa.Text, primary_key=True),
        sa.Column("organization", sa.Text, nullable=False),
        sa.Column("shard", sa.Integer, nullable=False),
        sa.Column("route", sa.Text, nullable=False),
        sa.Column("labels", JsonText, nullable=False),
        sa.Column("due_at", UtcDateTime, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("memory", JsonText, nullable=False),
        sa.UniqueConstraint("organization", "route", "labels", name="alert_group_by_labels"),
    )
    op.create_index("alert_group_due", "alert_group", ["shard", "due_at"])
    op.create_table(
        "alert_group_member",
        sa.Column("group_uid", sa.Text, primary_key=True),
        sa.Column("alert_id", sa.Text, primary_key=True),
    )
    op.create_index("alert_group_member_by_alert", "alert_group_member", ["alert_id"])
    op.create_table(
        "notification",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("organization", sa.Text, nullable=False),
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("state", sa.Integer, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("group_uid", sa.Text, nullable=False),
        sa.Column("group_labels", JsonText, nullable=False),
        sa.Column("level", sa.Integer, nullable=False),
        sa.Column("firing", JsonText, nullable=False),
        sa.Column("resolved", JsonText, nullable=False),
        sa.Column("dedup_key", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("create_time", UtcDateTime, nullable=False),
        sa.Column("next_attempt_at", UtcDateTime),
        sa.Column("ended_at", UtcDateTime),
        sa.UniqueConstraint("dedup_key", name="notification_once"),
    )
    op.create_index("notification_by_organization", "notification", ["organization", "id"])
    op.create_index(
        "notification_due",
        "notification",
        ["next_attempt_at"],
        postgresql_where=sa.text("state = 1"),
        sqlite_where=sa.text("state = 1"),
    )

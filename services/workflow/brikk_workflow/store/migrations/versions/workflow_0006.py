"""An index of the executions under way that others run."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "workflow_0006"
down_revision = "workflow_0005"


def upgrade() -> None:
    open_child = sa.text("end_time IS NULL AND substr(request_id, 1, 11) = 'executions/'")
    op.create_index(
        "execution_open_child",
        "execution",
        ["request_id"],
        postgresql_where=open_child,
        sqlite_where=open_child,
    )

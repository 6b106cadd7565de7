"""What agents tell of attempts under way."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from brikk_shared.types import JsonText

revision = "workflow_0005"
down_revision = "workflow_0004"


def upgrade() -> None:
    op.create_table(
        "progress",
        sa.Column("execution_id", sa.Text, primary_key=True),
        sa.Column("attempts", JsonText, nullable=False),
    )

"""Brings the database of the service to the schema of this program, ahead of a rollout."""

from __future__ import annotations

from brikk_shared.migrate import run
from brikk_workflow.settings import WorkflowSettings


def main() -> None:
    """Migrate, then end."""
    run(WorkflowSettings, "brikk_workflow.store.migrations")


if __name__ == "__main__":
    main()

"""Brings the database of the service to the schema of this program, ahead of a rollout."""

from __future__ import annotations

from brikk_monitoring.settings import MonitoringSettings
from brikk_shared.migrate import run


def main() -> None:
    """Migrate, then end."""
    run(MonitoringSettings, "brikk_monitoring.store.migrations")


if __name__ == "__main__":
    main()

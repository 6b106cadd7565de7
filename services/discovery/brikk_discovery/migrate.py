"""Brings the database of the service to the schema of this program, ahead of a rollout."""

from __future__ import annotations

from brikk_discovery.settings import DiscoverySettings
from brikk_shared.migrate import run


def main() -> None:
    """Migrate, then end."""
    run(DiscoverySettings, "brikk_discovery.store.migrations")


if __name__ == "__main__":
    main()

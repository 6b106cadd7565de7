"""Brings the database of the service to the schema of this program, ahead of a rollout."""

from __future__ import annotations

from brikk_shared.migrate import run
from brikk_webhooks.settings import WebhooksSettings


def main() -> None:
    """Migrate, then end."""
    run(WebhooksSettings, "brikk_webhooks.store.migrations")


if __name__ == "__main__":
    main()

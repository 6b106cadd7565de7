"""The processes that bring a database to the schema of their program, ahead of a rollout."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE

import pytest
from sqlalchemy import text

from brikk_shared.database import Database

SERVICES = ("discovery", "workflow", "webhooks", "monitoring")


async def migrate(service: str, url: str) -> tuple[int | None, str]:
    prefix = f"BRIKK_{service.upper()}"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", f"brikk_{service}.migrate"),
        env={**os.environ, f"{prefix}_DATABASE_URL": url, **NEEDED.get(service, {})},
        stderr=PIPE,
    )
    _, said = await process.communicate()
    return process.returncode, said.decode()


NEEDED = {
    "workflow": {"BRIKK_WORKFLOW_CALL_KEY": "nowhere.json"},
    "webhooks": {"BRIKK_WEBHOOKS_KEY_RING": "nowhere.json"},
    "monitoring": {"BRIKK_MONITORING_REDIS_URL": "redis://127.0.0.1:1"},
}
"""Settings without which the services themselves do not start; nothing of it is looked at."""


@pytest.mark.parametrize("service", SERVICES)
async def test_several_at_once_migrate_once(service: str, empty_database_url: str) -> None:
    once = 1 if empty_database_url.startswith("sqlite") else 2
    for code, said in await asyncio.gather(
        *(migrate(service, empty_database_url) for _ in range(once))
    ):
        assert code == 0, said
        assert '"event": "migrated"' in said
    migrations = f"brikk_{service}.store.migrations"
    async with (
        Database(empty_database_url, migrations=migrations) as database,
        database.reading() as connection,
    ):
        assert (await connection.execute(text("SELECT count(*) FROM alembic_version"))).scalar()


async def test_what_cannot_be_reached_is_said() -> None:
    code, said = await migrate("discovery", "postgresql://127.0.0.1:1/brikk")
    assert code == 1
    assert said.splitlines()[-1].startswith("discovery: ")

"""The migrations of each service lead to the tables that its code declares, on both stores."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

import pytest
from sqlalchemy import MetaData

from brikk_shared.database import Database
from brikk_shared.migrations import compare

STORES = [
    store
    for store in (
        "brikk_discovery.store",
        "brikk_workflow.store",
        "brikk_webhooks.store",
        "brikk_monitoring.store",
    )
    if find_spec(store) and find_spec(f"{store}.migrations")
]


async def test_the_shared_tables(database: Database) -> None:
    async with database.reading() as connection:
        assert await compare(connection) == []


@pytest.mark.parametrize("store", STORES)
async def test_the_tables_of_a_service(database_url: str, store: str) -> None:
    declared: MetaData = import_module(f"{store}.tables").METADATA
    migrations = f"{store}.migrations"
    async with (
        Database(database_url, migrations=migrations) as database,
        database.reading() as connection,
    ):
        assert await compare(connection, declared) == []

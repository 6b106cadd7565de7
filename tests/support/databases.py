"""Databases for tests on either store, empty or with the tables of a service already made."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from brikk_shared.database import Database
from brikk_shared.ids import new_id
from support import run
from support.postgres import server_url

_SERVICES = ("discovery", "monitoring", "webhooks", "workflow")


def service_of(path: Path) -> str | None:
    """Give the service that a file of tests is named after, which has tables."""
    service = path.stem.split("_")[1]
    return service if service in _SERVICES else None


@asynccontextmanager
async def fresh_database(store: str, folder: Path, service: str | None) -> AsyncIterator[str]:
    """Give the URL of a database in which nothing happened yet, in a folder if it is a file.

    Without a service it has no tables, and the file is not there. With one it is a copy, because to
    migrate each would take most of the time that its test takes.
    """
    if store == "sqlite":
        yield await _sqlite_database(folder, service)
    else:
        async with _postgres_database(service) as url:
            yield url


async def _sqlite_database(folder: Path, service: str | None) -> str:
    database = folder / "brikk.db"
    if service is not None:
        model = run.folder() / f"{service}.db"
        with run.alone(f"sqlite-{service}"):
            if not model.exists():
                unfinished = model.with_suffix(".unfinished")
                await _migrate(f"sqlite:///{unfinished}", service)
                unfinished.rename(model)
        shutil.copy(model, database)
    return f"sqlite:///{database}"


@asynccontextmanager
async def _postgres_database(service: str | None) -> AsyncIterator[str]:
    server = server_url()
    name, model = f"test_{new_id()}", "template1"
    if service is not None:
        model = f"model_{run.folder().name[-8:]}_{service}"
        made = run.folder() / model
        with run.alone(model):
            if not made.exists():
                await _execute(server, f'CREATE DATABASE "{model}"')
                await _migrate(_within(server, model), service)
                made.touch()
    await _execute(server, f'CREATE DATABASE {name} TEMPLATE "{model}"')
    try:
        yield _within(server, name)
    finally:
        await _execute(server, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


async def _migrate(url: str, service: str) -> None:
    async with Database(url, migrations=f"brikk_{service}.store.migrations"):
        pass


def _within(server: str, name: str) -> str:
    return urlunsplit(urlsplit(server)._replace(path=f"/{name}"))


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()

"""Fixtures for every test: real stores, empty, and the servers behind them."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from brikk_shared.database import Database
from support import run, valkey
from support.databases import fresh_database, service_of


def pytest_configure(config: pytest.Config) -> None:
    """Begin the run, in the process that starts the workers or is the only one."""
    if not hasattr(config, "workerinput"):
        config.stash[_RUN] = run.Run()


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the run: by now every worker has."""
    under_way = config.stash.get(_RUN, None)
    if under_way is not None:
        under_way.end()


_RUN = pytest.StashKey[run.Run]()
STORES = ("sqlite", "postgresql")


@pytest.fixture
async def sqlite_url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    """URL of an SQLite database; only for the tests of a service with tables is it there."""
    async with fresh_database("sqlite", tmp_path, service_of(request.path)) as url:
        yield url


@pytest.fixture
async def postgres_url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    """URL of a PostgreSQL database: empty, but for the tables of the service under test."""
    async with fresh_database("postgresql", tmp_path, service_of(request.path)) as url:
        yield url


@pytest.fixture(params=STORES)
async def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    """URL of a database as the two above give it: the test runs once on each store."""
    async with fresh_database(request.param, tmp_path, service_of(request.path)) as url:
        yield url


@pytest.fixture(params=STORES)
async def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    """URL of a database without tables, whichever service is under test, on each store."""
    async with fresh_database(request.param, tmp_path, None) as url:
        yield url


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A database with the tables of brikk_shared only, on each store."""
    async with Database(database_url, migrations=None) as database:
        yield database


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Prints past what pytest captures: what a long run did is worth knowing when it passed."""

    def tell(text: str) -> None:
        with capsys.disabled():
            print(f"\n{text}")  # noqa: T201 - it is for people

    return tell


@pytest.fixture(scope="session")
def _valkey_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    given = valkey.given_url(worker)
    if given is not None:
        yield given
        return
    server = valkey.ValkeyServer(tmp_path_factory.mktemp("valkey"))
    server.start()
    try:
        yield server.url
    finally:
        server.stop()


@pytest.fixture
def redis_url(_valkey_url: str) -> str:
    """URL of an empty Valkey database that no other test uses meanwhile."""
    valkey.empty(_valkey_url)
    return _valkey_url

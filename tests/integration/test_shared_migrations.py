"""Migrations: each runs once, whoever starts at the same time; a newer schema is not touched."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest
from sqlalchemy import Column, MetaData, Table, Text, text

from brikk_shared.database import Database
from brikk_shared.migrations import SchemaTooNew, compare

NOTE = """
import sqlalchemy as sa
from alembic import op

revision = "note_0001"
down_revision = None
branch_labels = ("note",)


def upgrade():
    op.create_table("note", sa.Column("id", sa.Text, primary_key=True))
    op.execute("INSERT INTO note (id) VALUES ('once')")
"""
BROKEN = """
from alembic import op

revision = "note_0002"
down_revision = "note_0001"


def upgrade():
    op.execute("INSERT INTO note (id) VALUES ('twice')")
    op.execute("INSERT INTO nowhere (id) VALUES ('x')")
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package with a migration of its own."""
    name = f"migrations_of_{tmp_path.name.replace('-', '_')}"
    versions = tmp_path / name / "versions"
    versions.mkdir(parents=True)
    (versions.parent / "__init__.py").touch()
    (versions / "note_0001.py").write_text(NOTE)
    monkeypatch.syspath_prepend(tmp_path)
    return name


async def notes(database: Database) -> list[str]:
    async with database.reading() as connection:
        return list((await connection.execute(text("SELECT id FROM note"))).scalars())


async def test_a_second_start_finds_nothing_to_do(database_url: str, package: str) -> None:
    for _ in range(2):
        async with Database(database_url, migrations=package) as database:
            assert await notes(database) == ["once"]


async def test_many_that_start_at_once_migrate_once(postgres_url: str) -> None:
    program = (
        "import asyncio, sys\n"
        "from brikk_shared.database import Database\n"
        "async def main():\n"
        "    async with Database(sys.argv[1], migrations=None):\n"
        "        pass\n"
        "asyncio.run(main())\n"
    )

    async def start() -> int:
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, postgres_url)
        return await process.wait()

    assert await asyncio.gather(*(start() for _ in range(3))) == [0, 0, 0]


async def test_databases_of_one_process_migrate_side_by_side(
    sqlite_url: str, postgres_url: str, package: str
) -> None:
    async def start(url: str) -> list[str]:
        async with Database(url, migrations=package) as database:
            return await notes(database)

    urls = (sqlite_url, postgres_url, postgres_url)
    assert await asyncio.gather(*map(start, urls)) == [["once"]] * 3


async def test_a_migration_that_fails_leaves_nothing(
    database_url: str, package: str, tmp_path: Path
) -> None:
    async with Database(database_url, migrations=package):
        pass
    broken = tmp_path / package / "versions" / "note_0002.py"
    broken.write_text(BROKEN)
    with pytest.raises(Exception, match="nowhere"):
        async with Database(database_url, migrations=package):
            pass
    broken.unlink()
    async with Database(database_url, migrations=package) as database:
        assert await notes(database) == ["once"]


async def test_a_newer_schema_is_refused_by_name(database_url: str, package: str) -> None:
    async with Database(database_url, migrations=package):
        pass
    with pytest.raises(SchemaTooNew, match="note_0001"):
        async with Database(database_url, migrations=None):
            pass


async def test_a_package_that_is_not_there_is_named(sqlite_url: str) -> None:
    with pytest.raises(ValueError, match="brikk_nowhere"):
        async with Database(sqlite_url, migrations="brikk_nowhere"):
            pass


async def test_differences_from_the_declared_tables_are_told(
    database_url: str, package: str
) -> None:
    declared = MetaData()
    Table("note", declared, Column("id", Text, primary_key=True))
    async with Database(database_url, migrations=package) as database:
        async with database.reading() as connection:
            assert await compare(connection, declared) == []
        Table("more", declared, Column("id", Text, primary_key=True))
        Table("note", declared, Column("title", Text), extend_existing=True)
        async with database.reading() as connection:
            differences = await compare(connection, declared)
    assert sorted(difference.split("'")[1] for difference in differences) == [
        "add_column",
        "add_table",
    ]

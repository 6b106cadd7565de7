"""Brings a database to the schema of this version; the alembic environment that all services share.

The tables of brikk_shared are a branch of their own, called `shared`; each service adds a branch
with its own tables, from the folder `versions` of the package that it names.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from weakref import WeakKeyDictionary

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from brikk_shared.errors import StartError
from brikk_shared.tables import METADATA

# alembic keeps the migration under way in module globals, so two databases of one process take
# turns.
_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()
# Any number does, as long as every service takes the same one: that many starters migrate one after
# another.
_ADVISORY_LOCK = 0x6272696B6B


class SchemaTooNew(StartError):
    """A newer version of the program has migrated this database."""


async def upgrade(engine: AsyncEngine, package: str | None) -> None:
    """Run the migrations that the database lacks, all in one transaction, one process at a time.

    Raises:
        SchemaTooNew: the database has a migration that this program lacks.
    """
    turn = _turns.setdefault(asyncio.get_running_loop(), asyncio.Lock())
    async with turn, engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            lock = text("SELECT pg_advisory_xact_lock(:number)")
            await connection.execute(lock, {"number": _ADVISORY_LOCK})
        await connection.run_sync(_upgrade, _config(package))


async def compare(connection: AsyncConnection, *metadata: MetaData) -> list[str]:
    """Tell how the migrated database differs from the declared tables; for tests.

    The tables of brikk_shared are always among the declared ones.
    """
    return await connection.run_sync(_compare, (METADATA, *metadata))


def _config(package: str | None) -> Config:
    here = Path(__file__).parent
    folders = [here / "versions"]
    if package is not None:
        spec = find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise ValueError(f"{package} is no package, so it holds no migrations")
        folders.append(Path(spec.submodule_search_locations[0]) / "versions")
    config = Config()
    config.set_main_option("script_location", _escaped(str(here)))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", _escaped("\n".join(map(str, folders))))
    return config


def _escaped(value: str) -> str:
    return value.replace("%", "%%")


def _upgrade(connection: Connection, config: Config) -> None:
    scripts = ScriptDirectory.from_config(config)
    applied = set(MigrationContext.configure(connection).get_current_heads())
    if applied == set(scripts.get_heads()):
        return
    known = {script.revision for script in scripts.walk_revisions()}
    unknown = sorted(applied - known)
    if unknown:
        raise SchemaTooNew(
            f"the database has migrations that this version does not know: {', '.join(unknown)}"
        )
    config.attributes["connection"] = connection
    command.upgrade(config, "heads")


def _compare(connection: Connection, metadata: Sequence[MetaData]) -> list[str]:
    declared = MetaData()
    for each in metadata:
        for table in each.tables.values():
            table.to_metadata(declared)
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    return [str(difference) for difference in compare_metadata(context, declared)]

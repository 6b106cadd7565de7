"""A process that brings a database to the schema of its program, ahead of a rollout."""

from __future__ import annotations

import asyncio
import sys
from typing import NoReturn

import structlog

from brikk_shared.database import Database
from brikk_shared.errors import BrikkError, StartError
from brikk_shared.logs import set_up_logs
from brikk_shared.process import leave, load
from brikk_shared.settings import SqlSettings

_log = structlog.stdlib.get_logger(__name__)


def run(settings_type: type[SqlSettings], migrations: str) -> NoReturn:
    """Run the migrations of a service that are due, by its settings; several at once do them once.

    Exit 0 when the schema is that of this program, 2 when a setting is wrong, 1 when it cannot be
    reached or is of a newer program.
    """
    settings = load(settings_type)
    set_up_logs(level=settings.log_level, form=settings.log_format)
    try:
        asyncio.run(_migrate(settings, migrations))
    except (StartError, BrikkError) as error:
        leave(1, f"{settings.service}: {error}")
    sys.exit(0)


async def _migrate(settings: SqlSettings, migrations: str) -> None:
    async with Database(settings.database_url, migrations=migrations):
        _log.info("migrated")

"""A process that archives and removes what ended long ago, and dies in between.

`python dying_archivist.py DATABASE_URL FOLDER`
"""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta
from pathlib import Path

from brikk_shared import faults
from brikk_shared.clock import SystemClock
from brikk_shared.database import Database
from brikk_shared.ids import new_id
from brikk_shared.leases import Leases
from brikk_workflow.runtime.retention import Retention
from brikk_workflow.store.archive import Archive


async def main(url: str, folder: str) -> None:
    """Remove what may leave."""
    async with Database(url, migrations="brikk_workflow.store.migrations") as database:
        clock = SystemClock()
        retention = Retention(
            database,
            Leases(database, new_id(), clock),
            keep=timedelta(days=1),
            archive=Archive(Path(folder)),
            removed=lambda _: None,
            clock=clock,
        )
        await retention.run()


if __name__ == "__main__":
    faults.arm("archive.written")
    asyncio.run(main(*sys.argv[1:]))

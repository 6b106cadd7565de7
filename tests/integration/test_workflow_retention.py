"""What has ended leaves in time with all that belongs to it, archived first, and nothing else."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete

from brikk_shared.chain import verify
from brikk_shared.ids import new_id
from brikk_shared.leases import LeaseLost, Leases
from brikk_shared.tables import LEASE
from brikk_shared.testing import ManualClock
from brikk_workflow.runtime.retention import INTERVAL, Retention
from brikk_workflow.store.archive import Archive
from brikk_workflow.store.retention import OF_EXECUTIONS
from brikk_workflow.store.tables import AGENT_WAIT, EXECUTION, METADATA
from support import dying_archivist
from support.past import Past, past
from support.running import running

KEEP = timedelta(days=30)
DAY = timedelta(days=1)
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Keeper:
    """A replica that removes what may leave."""

    def __init__(self, store: Past, folder: Path | None = None) -> None:
        self.store = store
        self.clock = ManualClock(NOON)
        self.gone: list[str] = []
        self.leases = Leases(store.database, new_id(), self.clock)
        self.retention = Retention(
            store.database,
            self.leases,
            keep=KEEP,
            archive=None if folder is None else Archive(folder),
            removed=self.gone.extend,
            clock=self.clock,
        )

    async def tidy(self) -> None:
        """Removes what may leave by now."""
        lease = await self.leases.acquire("retention", timedelta(hours=1))
        assert lease is not None
        try:
            await self.retention.tidy(lease)
        finally:
            await self.leases.release(lease)


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Past]:
    async with past(database_url) as opened:
        yield opened


def lines(file: Path) -> list[dict[str, object]]:
    with gzip.open(file, "rt", encoding="utf-8") as text:
        return [json.loads(line) for line in text]


def archived(folder: Path) -> dict[str, list[object]]:
    """What each file of an archive holds."""
    return {
        str(file.relative_to(folder)): [
            line["execution"] for line in lines(file) if line["kind"] == "execution"
        ]
        for file in sorted(folder.rglob("*.gz"))
    }


def test_whatever_is_kept_by_execution_goes_with_it() -> None:
    kept = {
        table
        for table in METADATA.tables.values()
        if next(iter(table.primary_key.columns)).name == "execution_id"
    }
    assert kept == {EXECUTION, *OF_EXECUTIONS} - {AGENT_WAIT}


async def test_it_leaves_on_the_day_after_its_time(store: Past) -> None:
    keeper = Keeper(store)
    await store.ran("a", end=NOON - KEEP)
    await store.ran("b", end=NOON - KEEP + DAY)
    await store.ran("c", end=NOON - KEEP, organization="other")
    await store.began("d", NOON - 2 * KEEP)
    await keeper.tidy()
    assert await store.executions() == ["a", "b", "c", "d"]
    keeper.clock.advance(timedelta(hours=12))
    await keeper.tidy()
    assert await store.executions() == ["b", "d"]
    assert sorted(keeper.gone) == ["a", "c"]
    keeper.clock.advance(DAY)
    await keeper.tidy()
    assert await store.executions() == ["d"]
    rows = await store.rows()
    assert [rows[table.name] for table in OF_EXECUTIONS] == [1, 1, 0, 0, 0]


async def test_the_tables_stay_flat_over_weeks(store: Past) -> None:
    keeper = Keeper(store)
    counts: list[dict[str, int]] = []
    for day in range(42):
        ids = [f"b{day:02}{number}" for number in range(3)]
        await store.ran(*ids, end=keeper.clock.now())
        await store.ran(f"b{day:02}x", end=keeper.clock.now(), organization="other")
        keeper.clock.advance(DAY)
        await keeper.tidy()
        counts.append(await store.rows())
    assert counts[-1] == counts[-2] == counts[31]
    assert counts[-1]["execution"] == 4 * 30
    assert Counter(counts[-1])["history"] == 2 * counts[-1]["execution"]


async def test_a_day_that_leaves_is_a_file_that_holds_everything(
    store: Past, tmp_path: Path
) -> None:
    folder = tmp_path / "backups" / "archive"
    keeper = Keeper(store, folder)
    end = NOON - KEEP - 2 * DAY
    await store.ran("b", "a", end=end)
    await store.ran("c", end=end + DAY)
    await store.ran("d", end=end, organization="other")
    await keeper.tidy()
    assert await store.executions() == []
    assert archived(folder) == {
        "acme/2025-11-30.jsonl.gz": ["a", "b"],
        "acme/2025-12-01.jsonl.gz": ["c"],
        "other/2025-11-30.jsonl.gz": ["d"],
    }
    # What it holds is nobody else's business.
    assert {each.stat().st_mode & 0o77 for each in folder.rglob("*")} == {0}
    with gzip.open(folder / "acme/2025-11-30.jsonl.gz") as file:
        verified = list(verify(file))
    assert [(each.execution, each.entries) for each in verified] == [("a", 2), ("b", 2)]
    header, given, *entries, one, two, output = lines(folder / "acme/2025-12-01.jsonl.gz")
    assert header["workflow_version"] == "workflows/chain/versions/1"
    assert (header["state"], header["labels"], header["priority"]) == (
        "succeeded",
        {"team": "a"},
        7,
    )
    assert given == {"kind": "input", "value": {"text": "é"}}
    assert [(each["sequence"], each["type"], each["step"]) for each in entries] == [
        (1, "x", "a/1/b"),
        (2, "x", "a/1/b"),
    ]
    assert one == {"kind": "output", "step": "step1", "value": {"n": 1}}
    assert two == {"kind": "output", "step": "step2", "value": {"n": 2}}
    assert output == {"kind": "output", "step": "", "value": {"done": True}}


async def test_what_a_file_holds_already_is_not_written_again(store: Past, tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    keeper = Keeper(store, folder)
    end = NOON - KEEP - DAY
    await store.ran("a", "b", end=end)
    await keeper.tidy()
    # The store went back to before, and one came that the file does not know.
    await store.ran("a", "b", "c", end=end)
    (folder / "acme" / ".2025-12-01.of-one-that-died").touch()
    await keeper.tidy()
    assert await store.executions() == []
    files = {"acme/2025-12-01.jsonl.gz": ["a", "b"], "acme/2025-12-01.2.jsonl.gz": ["c"]}
    assert archived(folder) == files
    await store.ran("b", "c", end=end)
    await keeper.tidy()
    assert await store.executions() == []
    assert archived(folder) == files


async def test_a_process_that_dies_before_it_removes_has_archived_once(
    database_url: str, tmp_path: Path
) -> None:
    folder = tmp_path / "archive"
    ids = [f"b{number:03}" for number in range(150)]
    async with past(database_url) as store:
        await store.ran(*ids, end=NOON - KEEP - DAY)
    program = Path(dying_archivist.__file__)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(program), database_url, str(folder)),
        env={**os.environ, "PYTHONPATH": str(program.parents[1])},
    )
    assert await process.wait() == -signal.SIGKILL
    files = archived(folder)
    async with past(database_url) as store:
        assert await store.executions() == ids
        async with store.database.transaction() as connection:
            await connection.execute(delete(LEASE))
        await Keeper(store, folder).tidy()
        assert await store.executions() == []
    assert archived(folder) == files == {"acme/2025-12-01.jsonl.gz": ids}


async def test_nothing_is_removed_that_cannot_be_archived(store: Past, tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    folder.write_text("no folder")
    keeper = Keeper(store, folder)
    await store.ran("a", end=NOON - KEEP - DAY)
    async with running(keeper.retention.run):
        # The next look, the renewal of the lease and its end.
        await keeper.clock.sleeping(3)
        assert await store.executions() == ["a"]
    folder.unlink()
    await keeper.tidy()
    assert await store.executions() == []


async def test_it_is_looked_for_again_and_again(store: Past) -> None:
    keeper = Keeper(store)
    await store.ran("a", end=NOON - KEEP - DAY)
    async with running(keeper.retention.run):
        await keeper.clock.sleeping(3)
        assert await store.executions() == []
        await store.ran("b", end=NOON - KEEP - DAY)
        # So that the lease is not lost meanwhile, in its own steps.
        for _ in range(INTERVAL // timedelta(seconds=10)):
            keeper.clock.advance(timedelta(seconds=10))
            await keeper.clock.sleeping(3)
        assert await store.executions() == []


async def test_who_lost_the_lease_removes_nothing(store: Past) -> None:
    keeper = Keeper(store)
    await store.ran("a", end=NOON - KEEP - DAY)
    lease = await keeper.leases.acquire("retention", timedelta(hours=1))
    assert lease is not None
    await keeper.leases.release(lease)
    assert await Leases(store.database, new_id(), keeper.clock).acquire("retention", KEEP)
    with pytest.raises(LeaseLost):
        await keeper.retention.tidy(lease)
    assert await store.executions() == ["a"]

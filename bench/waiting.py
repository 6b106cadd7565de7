"""Cases of work that does not go on: idle services, a long past, executions that wait."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from functools import partial

from sqlalchemy import NullPool, text
from sqlalchemy.ext.asyncio import create_async_engine

from bench.chains import CHAIN
from bench.load import put_load
from bench.report import Case, percentile
from bench.suite import BenchedSuite, Shape

ABANDONED = Shape(steps=1, capability="bench.nobody")
"""Nobody offers what it calls."""
WATCHED_S = 10.0
"""How long processes are watched that have nothing to do."""


async def idle_case(bench: BenchedSuite, store: str) -> Case:
    """What the suite costs while nobody asks anything of it."""
    return _still(f"{store}, idle", await _percent_of_a_core(bench))


async def waiting_case(bench: BenchedSuite, store: str, count: int) -> Case:
    """Starts executions of which nobody can do the work, and shows what they cost from then on."""
    await bench.create(ABANDONED)
    before = bench.rss_mib("workflow")
    load = await put_load(partial(bench.start, ABANDONED), units=count, in_flight=64)
    await bench.outbox_empty()
    await bench.until("brikk_workflow_executions_held", 0)
    percents = await _percent_of_a_core(bench)
    return Case(
        name=f"{store}, {count:,} executions wait for an agent",
        rate=round(count / load.seconds, 1),
        p50_ms=percentile(load.latencies_ms, 50),
        p99_ms=percentile(load.latencies_ms, 99),
        figures={**percents, "MiB more": round(bench.rss_mib("workflow") - before, 1)},
    )


async def stored_case(bench: BenchedSuite, store: str, count: int) -> Case:
    """The rate beside so many executions of the past, with all that they left."""
    await _store_copies(bench, count)
    units = 1280
    load = await put_load(
        partial(bench.execute, CHAIN), units=units, in_flight=64, finish=bench.outbox_empty
    )
    return Case(
        name=f"{store}, 64 in flight, {count:,} stored",
        rate=round(units * CHAIN.steps / load.seconds, 1),
        p50_ms=percentile(load.latencies_ms, 50),
        p99_ms=percentile(load.latencies_ms, 99),
    )


async def _percent_of_a_core(bench: BenchedSuite) -> Mapping[str, float]:
    begin, before = time.perf_counter(), bench.cpu()
    await asyncio.sleep(WATCHED_S)
    seconds, after = time.perf_counter() - begin, bench.cpu()
    return {
        f"{part} % of a core": round((after[part] - before[part]) * 100 / seconds, 2)
        for part in ("workflow", "postgresql")
        if part in after
    }


def _still(name: str, figures: Mapping[str, float]) -> Case:
    return Case(name=name, rate=0.0, p50_ms=0.0, p99_ms=0.0, figures=figures)


async def _store_copies(bench: BenchedSuite, count: int) -> None:
    """Copies an execution that ended until there are so many, below the ids of all others."""
    engine = create_async_engine(bench.database_url("workflow"), poolclass=NullPool)
    try:
        async with engine.begin() as connection:
            ended = text("SELECT max(execution_id) FROM execution WHERE end_time IS NOT NULL")
            original = (await connection.execute(ended)).scalar_one()
            copied = text("SELECT count(*) FROM execution WHERE execution_id < 'b'")
            begun = (await connection.execute(copied)).scalar_one()
        for first in range(begun, count, _COPIES):
            # Not in one transaction: on SQLite the service waits for it.
            async with engine.begin() as connection:
                for table in _COPIED:
                    columns = (
                        await connection.execute(text(f"SELECT * FROM {table} LIMIT 0"))
                    ).keys()
                    names = ", ".join(each for each in columns if each != "execution_id")
                    copy = _COPY.format(table=table, names=names)
                    last = min(first + _COPIES, count) - 1
                    values = {"original": original, "first": first, "last": last}
                    await connection.execute(text(copy), values)
        async with engine.begin() as connection:
            for table in _COPIED:
                await connection.execute(text(f"ANALYZE {table}"))
    finally:
        await engine.dispose()


_COPIES = 5_000
_COPIED = ("execution", "history", "step_output")
_COPY = """
WITH RECURSIVE copies(number) AS (
    SELECT CAST(:first AS bigint) UNION ALL SELECT number + 1 FROM copies WHERE number < :last
)
INSERT INTO {table} (execution_id, {names})
SELECT 'a000000000000000000000' || CAST(1000000000 + number AS text), {names}
FROM {table}, copies WHERE execution_id = :original
"""

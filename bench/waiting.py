"""Cases of work that does not go on: idle services, a long past, executions that wait."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from functools import partial

import asyncpg

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


async def stored_case(bench: BenchedSuite, count: int) -> Case:
    """The rate on PostgreSQL beside so many executions of the past, with all that they left."""
    await _store_copies(bench, count)
    units = 1280
    load = await put_load(
        partial(bench.execute, CHAIN), units=units, in_flight=64, finish=bench.outbox_empty
    )
    return Case(
        name=f"postgresql, 64 in flight, {count:,} stored",
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
    connection = await asyncpg.connect(bench.database_url("workflow"))
    try:
        original = await connection.fetchval(
            "SELECT max(execution_id) FROM execution WHERE end_time IS NOT NULL"
        )
        before = await connection.fetchval(
            "SELECT count(*) FROM execution WHERE execution_id < 'b'"
        )
        for table in ("execution", "history", "step_output"):
            columns = [
                row[0]
                for row in await connection.fetch(
                    "SELECT column_name FROM information_schema.columns"
                    " WHERE table_name = $1 AND column_name <> 'execution_id'",
                    table,
                )
            ]
            names = ", ".join(columns)
            await connection.execute(
                f"INSERT INTO {table} (execution_id, {names})"
                f" SELECT 'a' || lpad(number::text, 31, '0'), {names}"
                f" FROM {table}, generate_series({before + 1}, {count}) AS number"
                " WHERE execution_id = $1",
                original,
            )
            await connection.execute(f"ANALYZE {table}")
    finally:
        await connection.close()

"""Ended executions read again and again: through the cache, beside a service that has none."""

from __future__ import annotations

from collections.abc import Sequence

from bench.chains import CHAIN
from bench.load import Load, put_load
from bench.report import Case, Report, beside
from bench.suite import UNLIMITED, BenchedSuite, benched_suite

UNCACHED = {**UNLIMITED, "BRIKK_WORKFLOW_CACHE_BYTES": "0"}
EXECUTIONS = 200
ROUNDS = 5
"""How often each is read in one measurement."""
CALLS = 2
"""That a read takes: GetExecution and ListHistory."""


async def measure(*, quick: bool) -> Report:
    """Reads on both stores; the limit is what the store gives without a cache."""
    cases = [await _case(store, pairs=3 if quick else 7) for store in ("postgresql", "sqlite")]
    return Report(
        bench="reading",
        cases=cases,
        headline={f"gain_{case.name}": case.ratio or 0.0 for case in cases},
    )


async def _case(store: str, *, pairs: int) -> Case:
    rates: list[float] = []
    uncached: list[float] = []
    latencies: list[float] = []
    async with benched_suite(store, UNCACHED) as without, benched_suite(store) as cached:
        names = {bench: await _executions(bench) for bench in (without, cached)}
        for _ in range(pairs):
            for bench, found in ((without, uncached), (cached, rates)):
                load = await _read(bench, [*names[bench]] * ROUNDS)
                found.append(CALLS * EXECUTIONS * ROUNDS / load.seconds)
                if bench is cached:
                    latencies += load.latencies_ms
    return beside(store, rates=rates, limits=uncached, latencies_ms=latencies)


async def _executions(bench: BenchedSuite) -> Sequence[str]:
    await bench.warm_up(CHAIN)
    names: list[str] = []

    async def execute() -> None:
        names.append(await bench.execute(CHAIN))

    await put_load(execute, units=EXECUTIONS, in_flight=16)
    await _read(bench, names)
    return names


async def _read(bench: BenchedSuite, names: Sequence[str]) -> Load:
    left = iter(names)

    async def read() -> None:
        await bench.read(next(left))

    return await put_load(read, units=len(names), in_flight=32)

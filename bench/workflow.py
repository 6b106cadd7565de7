"""Durable steps per second beside naked calls, with the whole suite up.

The clock stops when every execution is terminal and every event has left the workflow service.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator

from bench.chains import CHAIN, load_case, lone_case
from bench.naked import NakedCalls, naked_agent
from bench.report import Case, Report
from bench.suite import BenchedSuite, Shape, benched_suite
from bench.waiting import idle_case, stored_case, waiting_case

LONG_CHAIN = Shape(steps=20)
FAN = Shape(steps=100, at_once=True)
WAITING = 50_000
STORED = (1_000, 100_000)


async def measure(*, quick: bool) -> Report:
    """Runs every case on both stores; quickly, only those that the report is judged by."""
    cases: list[Case] = []
    async with naked_agent() as naked:
        for store in ("postgresql", "sqlite"):
            async with benched_suite(store) as bench:
                await bench.warm_up(CHAIN)
                async for case in (_judged if quick else _all)(bench, naked, store):
                    cases.append(case)
                    print(f"{case.name}: {case.rate:,.0f} per second", file=sys.stderr, flush=True)
    by_name = {case.name: case for case in cases}
    return Report(
        bench="workflow",
        cases=cases,
        headline={
            "steps_ratio_postgresql": by_name["postgresql, 64 in flight"].ratio or 0.0,
            "steps_ratio_sqlite": by_name["sqlite, 64 in flight"].ratio or 0.0,
            "lone_p50_ms": by_name["postgresql, lone run of 3 steps"].p50_ms,
        },
    )


async def _judged(bench: BenchedSuite, naked: NakedCalls, store: str) -> AsyncIterator[Case]:
    """Runs the cases that the report is judged by."""
    yield await lone_case(bench, store)
    yield await load_case(bench, naked, f"{store}, 64 in flight", in_flight=64, pairs=4)


async def _all(bench: BenchedSuite, naked: NakedCalls, store: str) -> AsyncIterator[Case]:
    """Runs every case."""
    yield await lone_case(bench, store)
    yield await idle_case(bench, store)
    for in_flight in (1, 8, 64, 256):
        name = f"{store}, {in_flight} in flight"
        yield await load_case(bench, naked, name, in_flight=in_flight, pairs=7)
    for shape, name, in_flight in (
        (LONG_CHAIN, "chains of 20, 64 in flight", 64),
        (FAN, "fans of 100, 4 in flight", 4),
    ):
        await bench.create(shape)
        yield await load_case(
            bench, naked, f"{store}, {name}", in_flight=in_flight, pairs=5, shape=shape
        )
    for count in STORED:
        yield await stored_case(bench, store, count)
    yield await waiting_case(bench, store, WAITING)

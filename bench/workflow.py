"""Durable steps per second beside naked calls, with the whole suite up.

The clock stops when every execution is terminal and every event has left the workflow service.
"""

from __future__ import annotations

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
                cases.append(await lone_case(bench, store))
                if quick:
                    name = f"{store}, 64 in flight"
                    cases.append(await load_case(bench, naked, name, in_flight=64, pairs=4))
                else:
                    cases += await all_cases(bench, naked, store)
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


async def all_cases(bench: BenchedSuite, naked: NakedCalls, store: str) -> list[Case]:
    """Runs the cases beside the lone run."""
    cases = [await idle_case(bench, store)]
    for in_flight in (1, 8, 64, 256):
        name = f"{store}, {in_flight} in flight"
        cases.append(await load_case(bench, naked, name, in_flight=in_flight, pairs=7))
    for shape, name, in_flight in (
        (LONG_CHAIN, "chains of 20, 64 in flight", 64),
        (FAN, "fans of 100, 4 in flight", 4),
    ):
        await bench.create(shape)
        case = await load_case(
            bench, naked, f"{store}, {name}", in_flight=in_flight, pairs=5, shape=shape
        )
        cases.append(case)
    if store == "postgresql":
        cases += [await stored_case(bench, count) for count in STORED]
        cases.append(await waiting_case(bench, store, WAITING))
    return cases

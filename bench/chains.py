"""Cases of work that goes on: chains and fans, at several loads, beside naked calls."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from functools import partial

from bench.load import Load, put_load
from bench.naked import NakedCalls
from bench.report import Case, beside, percentile
from bench.suite import BATCHES, BenchedSuite, Shape

CHAIN = Shape(steps=3)


class Meter:
    """What executions cost, by part of the suite, from its making on."""

    def __init__(self, bench: BenchedSuite) -> None:
        self._bench = bench
        self._cpu: defaultdict[str, float] = defaultdict(float)
        self._commits = 0.0
        self._steps = 0
        self._executions = 0

    async def load(self, shape: Shape, *, units: int, in_flight: int) -> Load:
        """Runs executions until all that they say has left the service, and adds up their cost."""
        commits, cpu = await self._count_commits(), self._bench.cpu()
        load = await put_load(
            partial(self._bench.execute, shape),
            units=units,
            in_flight=in_flight,
            finish=self._bench.outbox_empty,
        )
        for part, seconds in self._bench.cpu().items():
            self._cpu[part] += seconds - cpu.get(part, 0.0)
        self._commits += await self._count_commits() - commits
        self._steps += units * shape.steps
        self._executions += units
        return load

    def figures(self) -> Mapping[str, float]:
        """Returns commits per step, and milliseconds of processor per execution."""
        each = {part: seconds * 1000 / self._executions for part, seconds in self._cpu.items()}
        named = {part: each.pop(part, 0.0) for part in ("workflow", "agent", "postgresql", "load")}
        costs = named | {"other": sum(each.values())}
        return {"commits/step": round(self._commits / self._steps, 3)} | {
            f"{part} ms": round(cost, 3) for part, cost in costs.items()
        }

    async def _count_commits(self) -> float:
        return (await self._bench.metrics())[f"{BATCHES}_count"]


async def lone_case(bench: BenchedSuite, store: str) -> Case:
    """One execution at a time, from start to its end seen by the caller."""
    lone = await put_load(partial(bench.execute, CHAIN), units=50, in_flight=1)
    return Case(
        name=f"{store}, lone run of {CHAIN.steps} steps",
        rate=round(len(lone.latencies_ms) * CHAIN.steps / lone.seconds, 1),
        p50_ms=percentile(lone.latencies_ms, 50),
        p99_ms=percentile(lone.latencies_ms, 99),
    )


async def load_case(
    bench: BenchedSuite,
    naked: NakedCalls,
    name: str,
    *,
    in_flight: int,
    pairs: int,
    shape: Shape = CHAIN,
) -> Case:
    """Interleaves durable runs with naked calls, both with as many in flight."""
    rates, limits, latencies = [], [], []
    meter = Meter(bench)
    # As many steps as twenty chains of three each, whatever the shape.
    units = max(2, (20 * in_flight if in_flight > 1 else 100) * CHAIN.steps // shape.steps)
    for _ in range(pairs):
        limit = await put_load(naked.call, units=60 * in_flight, in_flight=in_flight)
        limits.append(len(limit.latencies_ms) / limit.seconds)
        load = await meter.load(shape, units=units, in_flight=in_flight)
        rates.append(units * shape.steps / load.seconds)
        latencies += load.latencies_ms
    figures = meter.figures()
    return beside(name, rates=rates, limits=limits, latencies_ms=latencies, figures=figures)

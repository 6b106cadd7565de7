"""Keeps a number of calls in flight and times each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Load:
    """What became of some work: how long it took in all, and each unit in ms."""

    seconds: float
    latencies_ms: list[float]


async def put_load(
    work: Callable[[], Awaitable[object]],
    *,
    units: int,
    in_flight: int,
    finish: Callable[[], Awaitable[None]] | None = None,
) -> Load:
    """Does `units` of work with `in_flight` at once; the clock stops after `finish`."""
    left = iter(range(units))
    latencies: list[float] = []

    async def worker() -> None:
        for _ in left:
            begin = time.perf_counter()
            await work()
            latencies.append((time.perf_counter() - begin) * 1000)

    begin = time.perf_counter()
    async with asyncio.TaskGroup() as workers:
        for _ in range(in_flight):
            workers.create_task(worker())
    if finish is not None:
        await finish()
    return Load(seconds=time.perf_counter() - begin, latencies_ms=latencies)

"""Who is called when agents get worse and recover: `best` beside what else one may do.

A simulation, so it measures decisions and not this machine; only the figures in microseconds do.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from functools import partial
from random import Random
from statistics import median
from typing import Any, Protocol

from bench.report import Case, Report, percentile
from bench.simulation import CAPACITY, END, Chooser, Illness, Simulation
from brikk_shared.clock import Clock, SystemClock
from brikk_shared.selection import Group, Option, Policy, Selector
from brikk_shared.testing import ManualClock

GROUP = Group("organizations/bench", "bench.work")
SLOW = Illness(name="slow", success_rate=0.4, slower=4.0)
"""It works on, but badly."""
HOLE = Illness(name="hole", success_rate=0.05, slower=0.02)
"""It refuses nearly all at once, and so always seems to have room."""

_CALLS = 20_000
"""Timed for each figure in microseconds."""


class _Plain:
    """A policy as it is commonly written, without ejection or anything else."""

    def __init__(self, pick: Callable[[_Plain, tuple[Option, ...]], Option], seed: int) -> None:
        self.random = Random(seed)  # noqa: S311 - chance, no secret
        self.turn = 0
        self.in_flight: Counter[str] = Counter()
        self._pick = pick

    def choose(self, options: tuple[Option, ...]) -> str:
        self.turn += 1
        return self._pick(self, options).agent

    def begin(self, agent: str) -> None:
        self.in_flight[agent] += 1

    def end(self, agent: str, *, succeeded: bool, seconds: float) -> None:
        self.in_flight[agent] -= 1


def _any(plain: _Plain, options: tuple[Option, ...]) -> Option:
    return plain.random.choice(options)


def _next(plain: _Plain, options: tuple[Option, ...]) -> Option:
    return options[plain.turn % len(options)]


def _roomiest(plain: _Plain, options: tuple[Option, ...]) -> Option:
    return min(options, key=lambda each: (plain.in_flight[each.agent], plain.random.random()))


class _Selecting:
    """A caller that uses the selector."""

    def __init__(self, policy: Policy, clock: Clock, seed: int) -> None:
        self._policy = policy
        random = Random(seed)  # noqa: S311 - chance, no secret
        self._selector = Selector(clock=clock, random=random)
        self._calling: defaultdict[str, list[AbstractContextManager[None]]] = defaultdict(list)

    def choose(self, options: tuple[Option, ...]) -> str:
        option = self._selector.choose(GROUP, options, policy=self._policy)
        assert option is not None
        return option.agent

    def begin(self, agent: str) -> None:
        calling = self._selector.calling(GROUP.organization, agent)
        calling.__enter__()
        self._calling[agent].append(calling)

    def end(self, agent: str, *, succeeded: bool, seconds: float) -> None:
        self._calling[agent].pop().__exit__(None, None, None)
        self._selector.settle(
            GROUP.organization,
            agent,
            GROUP.capability,
            succeeded=succeeded,
            latency=timedelta(seconds=seconds),
        )
        self._selector.take_outcomes()


class _Callers(Protocol):
    def __call__(self, clock: ManualClock, /, *, seed: int) -> Sequence[Chooser]: ...


def _plain(
    pick: Callable[[_Plain, tuple[Option, ...]], Option], _: ManualClock, /, *, seed: int
) -> Sequence[Chooser]:
    return [_Plain(pick, seed)]


def _selecting(
    policy: Policy, count: int, clock: ManualClock, /, *, seed: int
) -> Sequence[Chooser]:
    return [_Selecting(policy, clock, seed * 100 + number) for number in range(count)]


CALLERS: dict[str, _Callers] = {
    "random": partial(_plain, _any),
    "round robin": partial(_plain, _next),
    "least in flight": partial(_plain, _roomiest),
    "random, ejecting": partial(_selecting, Policy.RANDOM, 1),
    "round robin, ejecting": partial(_selecting, Policy.ROUND_ROBIN, 1),
    "least in flight, ejecting": partial(_selecting, Policy.LEAST_IN_FLIGHT, 1),
    "best": partial(_selecting, Policy.BEST, 1),
}
"""One caller sends all calls. The first three are plain, the others the selector's policies."""


async def measure(*, quick: bool) -> Report:
    """Runs every policy through both illnesses with several seeds."""
    seeds = range(1, 3 if quick else 8)
    # First, while nothing else fills the memory of this process.
    times = _times()
    cases: list[Case] = []
    for illness in (SLOW, HOLE):
        for name, callers in CALLERS.items():
            cases.append(_case(f"{illness.name}: {name}", callers, illness, seeds))
        for count in (3, 24):
            for told, shares in (("each for itself", False), ("sharing", True)):
                callers = partial(_selecting, Policy.BEST, count)
                name = f"{illness.name}: best, {count} callers {told}"
                cases.append(_case(name, callers, illness, seeds, shares=shares))
    return Report(bench="selection", cases=cases, headline=times)


def _case(
    name: str,
    callers: _Callers,
    illness: Illness,
    seeds: Sequence[int],
    *,
    shares: bool = False,
) -> Case:
    results = [
        Simulation(partial(callers, seed=seed), illness=illness, shares=shares, seed=seed).run()
        for seed in seeds
    ]
    rates = [each.successes / each.calls * 100 for each in results]
    return Case(
        name=name,
        rate=round(median(each.successes / END for each in results), 1),
        p50_ms=round(median(percentile(each.latencies_ms, 50) for each in results)),
        p99_ms=round(median(percentile(each.latencies_ms, 99) for each in results)),
        figures={
            "success %": round(median(rates), 1),
            "least %": round(min(rates), 1),
            "most %": round(max(rates), 1),
            "to the ill %": round(median(each.ill_share for each in results) * 100, 1),
            "calls to leave": _median([each.calls_to_leave for each in results]),
            "s to leave": _median([each.seconds_to_leave for each in results]),
            "s to return": _median([each.seconds_to_return for each in results]),
            "calls to return": _median([each.calls_to_return for each in results]),
        },
    )


def _median(values: Sequence[float | None]) -> float | None:
    """Returns the median; None when in most runs it never came to that."""
    ordered = sorted(float("inf") if each is None else each for each in values)
    middle = ordered[len(ordered) // 2]
    return None if middle == float("inf") else middle


def _times() -> dict[str, float]:
    """Measures what each call costs its caller in processor time of this machine."""
    latency = timedelta(milliseconds=100)
    times = {}
    for count in (100, 5000):
        random = Random(1)  # noqa: S311 - chance, no secret
        selector = Selector(clock=SystemClock(), random=random)
        options = tuple(
            Option(agent=f"agents/a{number}", endpoint="127.0.0.1:1", capacity=CAPACITY)
            for number in range(count)
        )
        settle = partial(
            selector.settle,
            GROUP.organization,
            capability=GROUP.capability,
            succeeded=True,
            latency=latency,
        )
        agents = [each.agent for each in options] * (_CALLS // count)
        times[f"settle_{count}_us"] = _microseconds(settle, agents)
        times[f"choose_{count}_us"] = _microseconds(
            partial(selector.choose, GROUP), [options] * _CALLS
        )
    return times


def _microseconds(work: Callable[[Any], object], units: Sequence[object]) -> float:
    taken = []
    for _ in range(5):
        begin = time.process_time()
        for unit in units:
            work(unit)
        taken.append((time.process_time() - begin) / len(units) * 1e6)
    return round(median(taken), 1)

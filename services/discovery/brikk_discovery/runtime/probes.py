"""Asks agents in doubt whether they answer; the replica that sweeps does it for all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import islice
from random import Random

from brikk_discovery.domain.agent import AgentKey
from brikk_discovery.domain.health import Health, Verdict
from brikk_discovery.runtime.metrics import Metrics
from brikk_discovery.runtime.ranking import Entry
from brikk_discovery.runtime.registry import Registry
from brikk_shared.clock import Clock

_JITTER = 0.1


@dataclass(kw_only=True, slots=True, eq=False)
class _Case:
    epoch: int
    endpoint: str
    health: Health = field(default_factory=Health)
    next_at: float = 0.0
    """When to ask next, by the monotonic clock."""
    under_way: bool = False


class Probes:
    """Holds what probes have shown of those in doubt, and forgets it when the doubt is over.

    A probe is no heartbeat: it renews no lease. What it shows is read by whoever sweeps, who also
    says, with each sweep, that now is the time to ask those whose turn it is.

    Args:
        answers: asks an endpoint; it must end by itself.
        in_doubt: gives the agents that fail their callers.
        interval: how often each is asked; a tenth more or less, so that they spread.
        concurrency: how many are asked at once, and how many new ones between two sweeps at most.
    """

    def __init__(
        self,
        *,
        answers: Callable[[str], Awaitable[bool]],
        in_doubt: Callable[[], Iterable[AgentKey]],
        registry: Registry[object],
        interval: timedelta,
        concurrency: int,
        clock: Clock,
        random: Random,
        metrics: Metrics,
    ) -> None:
        self._answers = answers
        self._in_doubt = in_doubt
        self._registry = registry
        self._interval = interval
        self._concurrency = concurrency
        self._clock = clock
        self._random = random
        self._answered = metrics.probes.labels("answered")
        self._failed = metrics.probes.labels("failed")
        self._cases: dict[AgentKey, _Case] = {}
        self._new: dict[AgentKey, None] = {}
        self._queue: asyncio.Queue[_Case] = asyncio.Queue()
        registry.subscribe(self._meet)

    def recall(self, unreachable: Iterable[AgentKey]) -> None:
        """Take over those of whom others have found that they do not answer."""
        for key in unreachable:
            if (entry := self._registry.get(key)) is not None:
                case = self._cases.setdefault(key, _case_of(entry))
                if case.health.verdict is Verdict.UNKNOWN:
                    case.health = replace(case.health, verdict=Verdict.DOWN)

    def rest(self) -> None:
        """Probe no more: another replica does, or will."""
        self._cases.clear()

    def ask(self, silent: Iterable[AgentKey]) -> None:
        """Ask those whose turn it is, of these and of all others in doubt."""
        newcomers = list(islice(self._new, self._concurrency))
        for key in newcomers:
            del self._new[key]
        again = [key for key, case in self._cases.items() if case.health.open]
        wanted = dict.fromkeys((*silent, *self._in_doubt(), *again, *newcomers))
        now = self._clock.monotonic()
        cases: dict[AgentKey, _Case] = {}
        for key in wanted:
            entry = self._registry.get(key)
            if entry is None:
                continue
            case = self._cases.get(key)
            if case is None or (case.epoch, case.endpoint) != _place(entry):
                case = _case_of(entry)
            cases[key] = case
            if case.next_at <= now and not case.under_way:
                case.under_way = True
                self._queue.put_nowait(case)
        self._cases = cases

    def verdict(self, key: AgentKey, epoch: int) -> Verdict:
        """What probes have shown of an agent's incarnation."""
        case = self._cases.get(key)
        return Verdict.UNKNOWN if case is None or case.epoch != epoch else case.health.verdict

    @property
    def verdicts(self) -> Mapping[AgentKey, Verdict]:
        """Of whom probes have shown something."""
        return {
            key: case.health.verdict
            for key, case in self._cases.items()
            if case.health.verdict is not Verdict.UNKNOWN
        }

    async def run(self) -> None:
        """Probe until cancelled."""
        self._queue = asyncio.Queue()
        for case in self._cases.values():
            if case.under_way:
                self._queue.put_nowait(case)
        async with asyncio.TaskGroup() as group:
            for _ in range(self._concurrency):
                group.create_task(self._work())

    def _meet(self, before: Entry[object] | None, after: Entry[object] | None) -> None:
        """Note who registered, to ask each once; this replica may be the next that sweeps."""
        if after is None:
            if before is not None:
                self._new.pop(before.agent.key, None)
        elif before is None or _place(before) != _place(after):
            self._new[after.agent.key] = None

    async def _work(self) -> None:
        while True:
            case = await self._queue.get()
            answered = await self._answers(case.endpoint)
            (self._answered if answered else self._failed).inc()
            case.health = case.health.after(answered=answered)
            stretch = self._random.uniform(1 - _JITTER, 1 + _JITTER)
            case.next_at = self._clock.monotonic() + self._interval.total_seconds() * stretch
            case.under_way = False


def _case_of(entry: Entry[object]) -> _Case:
    epoch, endpoint = _place(entry)
    return _Case(epoch=epoch, endpoint=endpoint)


def _place(entry: Entry[object]) -> tuple[int, str]:
    return entry.agent.epoch, entry.agent.definition.endpoint

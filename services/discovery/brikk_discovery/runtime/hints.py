"""How calls go, told to watchers when it is noticeably otherwise than what they were told."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator
from typing import Final, Generic, NamedTuple, TypeVar

from brikk_discovery.domain.agent import AgentKey
from brikk_discovery.domain.outcome import Observation
from brikk_discovery.runtime.journal import Change
from brikk_discovery.runtime.ranking import Place
from brikk_discovery.runtime.registry import Registry

C = TypeVar("C")

_SHARE: Final = 0.05
_RATIO: Final = 1.25


class _Told(NamedTuple):
    observation: Observation
    in_flight: int


class Hints(Generic[C]):
    """Remembers what was told of live agents, and gathers what was observed since."""

    def __init__(self, registry: Registry[C]) -> None:
        self._registry = registry
        self._told: dict[Change, _Told] = {}
        self._fresh: dict[Change, None] = {}
        self._stirred = asyncio.Event()
        registry.subscribe_observations(self._note)

    async def wait(self) -> None:
        """Wait until something was observed."""
        await self._stirred.wait()

    def take(self) -> Iterator[tuple[Change, Place[C]]]:
        """Give what there is to tell, which then counts as told."""
        self._stirred.clear()
        fresh, self._fresh = self._fresh, {}
        for change in fresh:
            entry = self._registry.get(change.key)
            place = None if entry is None else entry.places.get(change.capability)
            if place is None or place.observation is None:
                self._told.pop(change, None)
                continue
            now, before = (
                _Told(place.observation, place.agent.load.in_flight),
                self._told.get(change),
            )
            if place.rank is not None and (before is None or _noticeable(before, now)):
                self._told[change] = now
                yield change, place

    def _note(self, key: AgentKey, capabilities: Collection[str]) -> None:
        for capability in capabilities:
            self._fresh[Change(key, capability)] = None
        self._stirred.set()


def _noticeable(before: _Told, now: _Told) -> bool:
    old, new = before.observation, now.observation
    return (
        abs(old.success_rate - new.success_rate) >= _SHARE
        or abs(old.quality - new.quality) >= _SHARE
        or _apart(old.latency.total_seconds(), new.latency.total_seconds())
        or _apart(old.calls, new.calls)
        or _apart(before.in_flight, now.in_flight)
    )


def _apart(one: float, other: float) -> bool:
    return max(one, other) > min(one, other) * _RATIO

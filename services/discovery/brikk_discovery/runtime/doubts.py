"""Decides in each sweep who is suspect, and why: the silent, the unreachable, the flapping."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from brikk_discovery.domain.agent import Agent, AgentKey, Doubt
from brikk_discovery.domain.health import (
    FLOOR,
    Verdict,
    doubt_of,
    flaps,
    forgiven_before,
    penalised,
)
from brikk_discovery.domain.memory import NOTHING
from brikk_discovery.runtime.metrics import Metrics
from brikk_discovery.runtime.probes import Probes
from brikk_discovery.store.agents import AgentStore
from brikk_discovery.store.memories import MemoryStore
from brikk_discovery.store.standings import Standing, StandingStore

# So many changes of doubt in a transaction: whoever registers waits for it.
_BATCH: Final = 500
_MEMORIES_KEPT: Final = timedelta(days=30)
# Doubts of those who are there all the same.
_PRESENT: Final = (Doubt.NONE, Doubt.FLAPPING)


class Doubts:
    """Writes why agents are suspect; every change of that is a change of the registry.

    Who falls silent or does not answer is remembered for it, also beyond its registration, so that
    coming and going adds up.
    """

    def __init__(
        self,
        *,
        store: AgentStore,
        memories: MemoryStore,
        standings: StandingStore,
        probes: Probes,
        metrics: Metrics,
    ) -> None:
        self._store = store
        self._memories = memories
        self._standings = standings
        self._probes = probes
        self._metrics = metrics

    async def settle(
        self, connection: AsyncConnection, silent: Sequence[Standing], now: datetime
    ) -> tuple[list[Agent], bool]:
        """Write what changed, and return those agents, and whether there is more to write.

        Args:
            silent: the agents that have not been heard for too long; the registry is locked since
                before they were read.
        """
        standings = {
            item.key: item
            for item in (
                *await self._standings.penalised(connection, above=FLOOR),
                *await self._standings.read(connection, self._probes.verdicts),
            )
        }
        changes: dict[AgentKey, Doubt] = {}
        fallen: list[AgentKey] = []
        unheard = {item.key for item in silent}
        for item in (*silent, *(standings[key] for key in standings.keys() - unheard)):
            doubt = self._doubt(item, now, silent=item.key in unheard)
            if doubt is item.doubt:
                continue
            changes[item.key] = doubt
            if item.doubt in _PRESENT and doubt not in _PRESENT:
                fallen.append(item.key)
            if len(changes) == _BATCH:
                break
        if not changes:
            return [], False
        last, _ = await self._store.advance(connection, len(changes))
        revisions = range(last - len(changes) + 1, last + 1)
        await self._store.doubt(
            connection,
            {
                key: (doubt, revision)
                for (key, doubt), revision in zip(changes.items(), revisions, strict=True)
            },
        )
        await self.penalise(connection, fallen, now)
        changed = await self._store.read(connection, changes)
        for doubt in changes.values():
            if doubt is not Doubt.NONE:
                self._metrics.suspected.labels(doubt).inc()
        return list(changed.values()), len(changes) == _BATCH

    async def penalise(
        self, connection: AsyncConnection, keys: Sequence[AgentKey], now: datetime
    ) -> None:
        """Remember of agents that they went down once more."""
        if not keys:
            return
        held = await self._memories.read(connection, keys)
        await self._memories.save(
            connection, {key: penalised(held.get(key, NOTHING), now) for key in keys}, now
        )

    async def forget(self, connection: AsyncConnection, now: datetime) -> None:
        """Forget what is too old to count, and the ids that did not come back."""
        await self._memories.forget(connection, now - _MEMORIES_KEPT)
        await self._standings.forgive(connection, forgiven_before(now))

    def _doubt(self, item: Standing, now: datetime, *, silent: bool) -> Doubt:
        if item.doubt is Doubt.SILENT and not silent:
            # It was granted time, or is heard again: that only a heartbeat tells, which ends it.
            return Doubt.SILENT
        verdict = self._probes.verdict(item.key, item.epoch)
        if item.doubt is Doubt.UNREACHABLE and verdict is Verdict.UNKNOWN:
            verdict = Verdict.DOWN  # as was found before, until probes show that it is over
        flapping = flaps(item.memory, now, already=item.doubt is Doubt.FLAPPING)
        return doubt_of(silent=silent, verdict=verdict, flapping=flapping)

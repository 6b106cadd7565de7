"""The live agents in memory, from which every read is answered."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from heapq import nsmallest
from typing import Generic, TypeVar

from brikk_discovery.domain.agent import Agent, AgentKey, Load
from brikk_discovery.domain.lease import Terms
from brikk_discovery.domain.ranking import State, rank_of, state_of
from brikk_discovery.runtime.ranking import Entry, Ranking
from brikk_shared.clock import Clock

C_co = TypeVar("C_co", covariant=True)


@dataclass(slots=True)
class _Organization(Generic[C_co]):
    entries: dict[str, Entry[C_co]] = field(default_factory=dict)
    rankings: dict[str, Ranking[C_co]] = field(default_factory=dict)


class Registry(Generic[C_co]):
    """An index of the store by organisation, by name and by capability.

    It holds what was committed, and the heartbeats that the store does not know yet. Whatever
    learns of a commit tells it: `put` and `remove` may be repeated. `offer` makes the answer that
    offers an agent: once for each change, not once for each question.
    """

    def __init__(self, terms: Terms, clock: Clock, offer: Callable[[Agent, State], C_co]) -> None:
        self._terms = terms
        self._clock = clock
        self._offer = offer
        self._organizations: dict[str, _Organization[C_co]] = {}
        self._counts: Counter[State] = Counter()
        # Those who are not silent, the longest unheard first.
        self._heard: OrderedDict[AgentKey, Entry[C_co]] = OrderedDict()

    def load(self, agents: Iterable[Agent], *, now: datetime) -> None:
        """Take in what the store holds, at its time `now`."""
        for agent in sorted(agents, key=lambda agent: agent.beat_time):
            self.put(agent, silence=now - agent.beat_time)

    def put(self, agent: Agent, *, silence: timedelta = timedelta(0)) -> None:
        """Take in an agent as it was committed, last heard of so long ago."""
        held = self.get(agent.key)
        if held is not None:
            if held.agent.epoch == agent.epoch:
                # Its last heartbeat may be newer than the store's.
                agent = replace(agent, load=held.agent.load)
            self.remove(agent.key)
        entry = Entry[C_co](agent=agent, beat_at=self._clock.monotonic() - silence.total_seconds())
        organization = self._organizations.setdefault(agent.key.organization, _Organization())
        organization.entries[agent.key.agent_id] = entry
        for capability in agent.definition.capability_names():
            ranking = organization.rankings.setdefault(capability, Ranking())
            ranking.add(entry)
            entry.rankings[capability] = ranking
        self._counts[entry.state] += 1
        self._heard[agent.key] = entry
        self._place(entry)

    def remove(self, key: AgentKey) -> None:
        """Let an agent go; one that is not held is no error."""
        entry = self.get(key)
        if entry is None:
            return
        organization = self._organizations[key.organization]
        for capability, ranking in entry.rankings.items():
            ranking.remove(entry)
            if not ranking.members:
                del organization.rankings[capability]
        del organization.entries[key.agent_id]
        if not organization.entries:
            del self._organizations[key.organization]
        self._heard.pop(key, None)
        self._counts[entry.state] -= 1

    def beat(self, key: AgentKey, epoch: int, load: Load) -> bool:
        """Hear from an agent; False when it does not hold the lease."""
        entry = self.get(key)
        if entry is None or entry.agent.epoch != epoch:
            return False
        now = self._clock.now()
        entry.agent = replace(
            entry.agent, load=load, beat_time=now, expire_time=now + self._terms.expire_after
        )
        entry.beat_at = self._clock.monotonic()
        self._heard[key] = entry
        self._heard.move_to_end(key)
        self._place(entry)
        return True

    def extend(self, keys: Iterable[AgentKey], until: datetime) -> None:
        """Note that leases were extended without a heartbeat."""
        for key in keys:
            if (entry := self.get(key)) is not None:
                entry.agent = replace(entry.agent, expire_time=until)

    def get(self, key: AgentKey) -> Entry[C_co] | None:
        """Find one agent."""
        self._note_silence()
        organization = self._organizations.get(key.organization)
        return None if organization is None else organization.entries.get(key.agent_id)

    def page(
        self, organization: str, *, after: str, size: int, capability: str = ""
    ) -> list[Entry[C_co]]:
        """Give at most `size` agents whose ids come after one, by id."""
        self._note_silence()
        held = self._organizations.get(organization, _Organization())
        entries = held.entries
        if capability:
            entries = held.rankings.get(capability, Ranking()).members
        ids = nsmallest(size, (agent_id for agent_id in entries if agent_id > after))
        return [entries[agent_id] for agent_id in ids]

    def resolve(
        self, organization: str, capability: str, *, limit: int, excluded: Collection[str] = ()
    ) -> list[C_co]:
        """Give those who offer a capability, best first, without the excluded ids."""
        self._note_silence()
        held = self._organizations.get(organization)
        ranking = None if held is None else held.rankings.get(capability)
        return [] if ranking is None else ranking.best(limit, excluded)

    def count(self, state: State) -> int:
        """Count the agents that are in a state now."""
        self._note_silence()
        return self._counts[state]

    def _note_silence(self) -> None:
        since = self._clock.monotonic() - self._terms.suspect_after.total_seconds()
        while self._heard:
            key, entry = next(iter(self._heard.items()))
            if entry.beat_at > since:
                return
            del self._heard[key]
            self._place(entry)

    def _place(self, entry: Entry[C_co]) -> None:
        key, load = entry.agent.key, entry.agent.load
        capacity = entry.agent.definition.capacity
        state = state_of(load, capacity=capacity, silent=key not in self._heard)
        self._counts[entry.state] -= 1
        self._counts[state] += 1
        entry.state = state
        rank = rank_of(key.agent_id, state, capacity=capacity, in_flight=load.in_flight)
        if rank == entry.rank:
            return
        for ranking in entry.rankings.values():
            ranking.moving(entry)
        entry.rank = rank
        entry.candidate = None if rank is None else self._offer(entry.agent, state)

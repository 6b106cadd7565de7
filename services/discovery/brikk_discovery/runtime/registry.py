"""The live agents in memory, from which every read is answered."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from heapq import nsmallest
from itertools import islice
from typing import Final, Generic, TypeAlias, TypeVar

from brikk_discovery.domain.agent import Agent, AgentKey, Doubt, Load
from brikk_discovery.domain.filter import ANY, Filter, prefix_of
from brikk_discovery.domain.offer import Offer, Summary, Variant, variants_of
from brikk_discovery.domain.outcome import Observation
from brikk_discovery.domain.ranking import State, rank_of, state_of
from brikk_discovery.runtime.organization import Organization
from brikk_discovery.runtime.ranking import Entry, Place, Ranking

C_co = TypeVar("C_co", covariant=True)

# Removals that are remembered, so that news which is older does not bring an agent back.
_REMOVED: Final = 10_000


Listener: TypeAlias = "Callable[[Entry[C_co] | None, Entry[C_co] | None], None]"
Observer: TypeAlias = Callable[[AgentKey, Collection[str]], None]
Chronicler: TypeAlias = Callable[[AgentKey, int], None]


class Registry(Generic[C_co]):
    """An index of the store by organisation, by name and by capability.

    It holds what was committed, and the heartbeats that the store does not know yet. Whatever
    learns of a commit tells it: `put`, `remove` and `beat` may be repeated, and ignore what is
    older than what is held. `offer` makes the answer that offers an agent: at most once for each
    change, not once for each question.
    """

    def __init__(self, offer: Callable[[Offer], C_co]) -> None:
        self._offer = offer
        self._organizations: dict[str, Organization[C_co]] = {}
        self._removed: OrderedDict[AgentKey, int] = OrderedDict()
        self._counts: Counter[State] = Counter()
        self._revision = 0
        self._listeners: list[Listener[C_co]] = []
        self._observers: list[Observer] = []
        self._chroniclers: list[Chronicler] = []

    @property
    def revision(self) -> int:
        """The newest revision that was told here."""
        return self._revision

    def reach(self, revision: int) -> None:
        """Note that all is told up to a revision, also where nothing was to tell."""
        self._revision = max(self._revision, revision)

    def subscribe(self, listener: Listener[C_co]) -> None:
        """Call this at once whenever an agent changes its revision or what it is offered as.

        The listener gets the agent before, None when it comes, and after, None when it leaves. Of
        calls in flight, times and observations it is told nothing.
        """
        self._listeners.append(listener)

    def subscribe_observations(self, observer: Observer) -> None:
        """Call this at once with an agent and its capabilities that were observed anew."""
        self._observers.append(observer)

    def subscribe_revisions(self, chronicler: Chronicler) -> None:
        """Call this at once with an agent and each revision of it that is told here.

        That includes the removal of an agent that was never held: other replicas may have held it.
        """
        self._chroniclers.append(chronicler)

    def put(self, agent: Agent) -> None:
        """Take in an agent as it was committed."""
        self.reach(agent.revision)
        key, held = agent.key, self.get(agent.key)
        if agent.revision <= self._removed.get(key, 0):
            return
        self._removed.pop(key, None)
        if held is None:
            self._chronicle(key, agent.revision)
            self._hold(None, agent, variants_of(agent.definition))
            return
        if agent.revision < held.agent.revision:
            return
        if agent.revision > held.agent.revision:
            self._chronicle(key, agent.revision)
        if agent.epoch == held.agent.epoch:
            agent = _with_last_beat(agent, held.agent)
        if agent.definition == held.agent.definition:
            variants = {name: place.variants for name, place in held.places.items()}
        else:
            variants = variants_of(agent.definition)
        self._hold(held, agent, variants)

    def remove(self, key: AgentKey, revision: int) -> None:
        """Let an agent go that left at a revision; one that is not held is no error."""
        self.reach(revision)
        entry = self.get(key)
        if entry is not None and entry.agent.revision > revision:
            return
        if revision > self._removed.get(key, 0):
            self._chronicle(key, revision)
        self._removed[key] = max(revision, self._removed.pop(key, 0))
        if len(self._removed) > _REMOVED:
            self._removed.popitem(last=False)
        if entry is None:
            return
        organization = self._organizations[key.organization]
        for capability in entry.places:
            organization.take_out(key.agent_id, capability)
        del organization.entries[key.agent_id]
        if not organization.entries:
            del self._organizations[key.organization]
        self._counts[entry.state] -= 1
        self._tell(entry, None)

    def beat(
        self, key: AgentKey, epoch: int, load: Load, *, beat_time: datetime, expire_time: datetime
    ) -> Entry[C_co] | None:
        """Hear from an agent, and give it; None when it does not hold the lease.

        Times are the store's.
        """
        entry = self.get(key)
        if entry is None or entry.agent.epoch != epoch:
            return None
        agent = entry.agent
        if beat_time < agent.beat_time:
            return entry
        doubt = Doubt.NONE if agent.doubt is Doubt.SILENT else agent.doubt
        after = replace(agent, load=load, doubt=doubt, beat_time=beat_time, expire_time=expire_time)
        if load != agent.load or doubt is not agent.doubt:
            variants = {name: place.variants for name, place in entry.places.items()}
            return self._hold(entry, after, variants)
        entry = Entry(agent=after, state=entry.state, places=entry.places)
        self._organizations[key.organization].entries[key.agent_id] = entry
        return entry

    def extend(self, keys: Iterable[AgentKey], until: datetime) -> None:
        """Note that leases were extended without a heartbeat."""
        for key in keys:
            if (entry := self.get(key)) is not None:
                self._organizations[key.organization].entries[key.agent_id] = Entry(
                    agent=replace(entry.agent, expire_time=until),
                    state=entry.state,
                    places=entry.places,
                )

    def observe(self, key: AgentKey, observations: Mapping[str, Observation | None]) -> None:
        """Note how calls to an agent go, by capability; None is for what is forgotten."""
        entry = self.get(key)
        if entry is None:
            return
        organization = self._organizations[key.organization]
        places = dict(entry.places)
        for capability, observation in observations.items():
            if (place := places.get(capability)) is not None:
                places[capability] = self._place(
                    entry.agent, entry.state, capability, place.variants, observation
                )
                organization.put_in(key.agent_id, capability, places[capability])
        organization.entries[key.agent_id] = Entry(
            agent=entry.agent, state=entry.state, places=places
        )
        for observer in self._observers:
            observer(key, observations.keys())

    def get(self, key: AgentKey) -> Entry[C_co] | None:
        """Find one agent."""
        organization = self._organizations.get(key.organization)
        return None if organization is None else organization.entries.get(key.agent_id)

    def entries(self) -> Iterator[Entry[C_co]]:
        """Give all agents of all organisations, in no order."""
        for organization in self._organizations.values():
            yield from organization.entries.values()

    def page(
        self, organization: str, *, after: str, size: int, capability: str = ""
    ) -> list[Entry[C_co]]:
        """Give at most `size` agents whose ids come after one, by id."""
        held = self._organizations.get(organization)
        if held is None:
            return []
        ids: Iterable[str] = held.entries
        if capability:
            ranking = held.rankings.get(capability)
            ids = () if ranking is None else (agent_id for agent_id, _ in ranking.places)
        first = nsmallest(size, (agent_id for agent_id in ids if agent_id > after))
        return [held.entries[agent_id] for agent_id in first]

    def capabilities(
        self, organization: str, *, prefix: str, after: str, size: int
    ) -> list[Summary]:
        """Give at most `size` capabilities whose names begin so and come after one, by name."""
        held = self._organizations.get(organization)
        if held is None:
            return []
        names = islice(held.below(prefix, after=after), size)
        return [held.rankings[name].summary(name) for name in names]

    def resolve(
        self,
        organization: str,
        capability: str,
        *,
        limit: int,
        excluded: Collection[str] = (),
        wanted: Filter = ANY,
    ) -> tuple[C_co, ...]:
        """Give those who offer a capability, or one below `prefix.*`, best first.

        Who asks the same while nothing changes gets the very same tuple.
        """
        ranking = self._ranking(organization, capability)
        return () if ranking is None else ranking.best(limit, frozenset(excluded), wanted)

    def places(self, organization: str, capability: str) -> Collection[Place[C_co]]:
        """Give all that offer a capability, or one below `prefix.*`, in no order."""
        ranking = self._ranking(organization, capability)
        return () if ranking is None else ranking.places.values()

    def count(self, state: State) -> int:
        """Count the agents that are in a state."""
        return self._counts[state]

    def _ranking(self, organization: str, capability: str) -> Ranking[C_co] | None:
        held = self._organizations.get(organization)
        if held is None:
            return None
        prefix = prefix_of(capability)
        return held.ranking_below(prefix) if prefix else held.rankings.get(capability)

    def _hold(
        self,
        before: Entry[C_co] | None,
        agent: Agent,
        variants: Mapping[str, tuple[Variant, ...]],
    ) -> Entry[C_co]:
        """Put an agent where it belongs now, tell of it, and give it."""
        key, state = agent.key, state_of(agent)
        organization = self._organizations.setdefault(key.organization, Organization())
        held: Mapping[str, Place[C_co]] = {}
        if before is not None:
            self._counts[before.state] -= 1
            for capability in before.places.keys() - variants.keys():
                organization.take_out(key.agent_id, capability)
            if before.agent.epoch == agent.epoch:
                held = before.places
        places: dict[str, Place[C_co]] = {}
        for capability, each in variants.items():
            place = held.get(capability)
            observation = None if place is None else place.observation
            places[capability] = self._place(agent, state, capability, each, observation)
            organization.put_in(key.agent_id, capability, places[capability])
        after = Entry(agent=agent, state=state, places=places)
        organization.entries[key.agent_id] = after
        self._counts[state] += 1
        if before is None or _differ(before, after):
            self._tell(before, after)
        return after

    def _place(
        self,
        agent: Agent,
        state: State,
        capability: str,
        variants: tuple[Variant, ...],
        observation: Observation | None,
    ) -> Place[C_co]:
        return Place(
            agent=agent,
            state=state,
            variants=variants,
            observation=observation,
            rank=rank_of(agent, state, capability, observation),
            offer=self._offer,
        )

    def _chronicle(self, key: AgentKey, revision: int) -> None:
        for chronicler in self._chroniclers:
            chronicler(key, revision)

    def _tell(self, before: Entry[C_co] | None, after: Entry[C_co] | None) -> None:
        for listener in self._listeners:
            listener(before, after)


def _differ(before: Entry[C_co], after: Entry[C_co]) -> bool:
    return (
        before.agent.revision != after.agent.revision
        or before.state is not after.state
        or before.agent.doubt is not after.agent.doubt
        or before.agent.capacity != after.agent.capacity
    )


def _with_last_beat(agent: Agent, held: Agent) -> Agent:
    """Keep what the last heartbeat told: the store may not know of it yet.

    But for silence: the times of replicas and store differ, so they cannot tell which was first.
    If it was the silence, the checkpoint that brings the heartbeat ends it.
    """
    load = held.load
    if agent.definition != held.definition:
        # A capacity that is declared anew is newer than one that a heartbeat told.
        load = replace(load, capacity=agent.load.capacity)
    return replace(
        agent,
        load=load,
        beat_time=max(agent.beat_time, held.beat_time),
        expire_time=max(agent.expire_time, held.expire_time),
    )

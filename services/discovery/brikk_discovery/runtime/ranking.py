"""Those who offer one capability, kept in order of preference."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from brikk_discovery.domain.agent import Agent
from brikk_discovery.domain.filter import Filter
from brikk_discovery.domain.offer import Offer, Summary, Variant, newest_first
from brikk_discovery.domain.outcome import Observation
from brikk_discovery.domain.ranking import Rank, State

C = TypeVar("C")

# Most different questions whose answers are kept while nothing moves.
_ANSWERS: Final = 64


@dataclass(kw_only=True, slots=True, eq=False)
class Place(Generic[C]):
    """An agent among those that offer one capability, until anything of that changes."""

    agent: Agent
    """Its times are those of when it came here."""
    state: State
    variants: tuple[Variant, ...]
    """The capability in its versions, the newest first."""
    observation: Observation | None
    rank: Rank | None
    """None while it is not offered."""
    offer: Callable[[Offer], C]
    made: C | None = None

    def candidate(self, at: int = 0) -> C:
        """Give the answer that offers one of the variants; that of the first is made once."""
        if at == 0 and self.made is not None:
            return self.made
        candidate = self.offer(
            Offer(
                agent=self.agent,
                state=self.state,
                variant=self.variants[at],
                observation=self.observation,
            )
        )
        if at == 0:
            self.made = candidate
        return candidate

    def match(self, wanted: Filter) -> int | None:
        """Find the newest variant that will do."""
        if not wanted.admits(self.agent.definition):
            return None
        for at, variant in enumerate(self.variants):
            if wanted.admits_version(variant.capability.version):
                return at
        return None


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Entry(Generic[C]):
    """A live agent as it stands, until anything of it changes."""

    agent: Agent
    """As registered, with the load and the times of its last heartbeat."""
    state: State
    places: Mapping[str, Place[C]]
    """By capability."""

    @property
    def candidates(self) -> dict[str, C]:
        """The answers that offer it, by capability; none while it is not offered."""
        return {
            capability: place.candidate()
            for capability, place in self.places.items()
            if place.rank is not None
        }


class Ranking(Generic[C]):
    """Places by rank, best first.

    Heartbeats change ranks far more often than anybody asks for a given capability, so a change is
    only noted, and sorted in when somebody asks; the answer is kept until the next one.
    """

    __slots__ = ("_answers", "_moved", "_order", "_ready", "_versions", "places")

    def __init__(self) -> None:
        self.places: dict[tuple[str, str], Place[C]] = {}
        """By the agent's id and the capability, whether they are offered or not."""
        self._order: list[Rank] = []
        # Places whose rank changed since they were sorted in, with the rank they stand under.
        self._moved: dict[tuple[str, str], Rank | None] = {}
        self._answers: dict[tuple[int, frozenset[str], Filter], tuple[C, ...]] = {}
        self._ready = 0
        self._versions: Counter[str] = Counter()

    @property
    def stale(self) -> bool:
        """Whether so much changed since anybody asked that to sort it in is no gain."""
        return len(self._moved) * 2 > len(self.places)

    def put(self, key: tuple[str, str], place: Place[C]) -> None:
        """Take in a place, instead of the one of the same key."""
        held = self.places.get(key)
        before = None if held is None else held.rank
        if before != place.rank:
            self._moved.setdefault(key, before)
        if held is None or held.variants is not place.variants:
            self._count(place, 1)
            if held is not None:
                self._count(held, -1)
        self._ready += (place.state is State.READY) - (
            held is not None and held.state is State.READY
        )
        self.places[key] = place
        self._answers.clear()

    def remove(self, key: tuple[str, str]) -> None:
        """Let a place go, at once: a capability that nobody asks for must not keep the dead."""
        place = self.places.pop(key)
        self._take_out(self._moved.pop(key, place.rank))
        self._count(place, -1)
        self._ready -= place.state is State.READY
        self._answers.clear()

    def best(self, limit: int, excluded: frozenset[str], wanted: Filter) -> tuple[C, ...]:
        """Give the candidates that are wanted, best first, without the excluded agent ids.

        Suspects are given only when nobody else is left. As long as nothing moves, the same
        question has the very same answer.
        """
        question = (limit, excluded, wanted)
        answer = self._answers.get(question)
        if answer is None:
            if len(self._answers) >= _ANSWERS:
                self._answers.clear()
            answer = self._answers[question] = tuple(self._best(limit, excluded, wanted))
        return answer

    def _best(self, limit: int, excluded: frozenset[str], wanted: Filter) -> list[C]:
        if self._moved:
            self._sort()
        found: list[C] = []
        somebody = False
        for rank in self._order:
            if len(found) == limit or (somebody and rank.suspect):
                break
            if rank.agent_id in excluded:
                continue
            place = self.places[rank.agent_id, rank.capability]
            at = place.match(wanted)
            if at is not None:
                found.append(place.candidate(at))
                somebody = somebody or not rank.suspect
        return found

    def summary(self, capability: str) -> Summary:
        """Sum up who offers a capability, which must be that of all places."""
        versions = newest_first(self._versions)
        newest = next(
            place.variants[0].capability
            for place in self.places.values()
            if place.variants[0].capability.version == versions[0]
        )
        return Summary(
            name=capability,
            description=newest.description,
            agents=len(self.places),
            ready=self._ready,
            versions=tuple(version for version in versions if version),
        )

    def _count(self, place: Place[C], by: int) -> None:
        for variant in place.variants:
            version = variant.capability.version
            self._versions[version] += by
            if not self._versions[version]:
                del self._versions[version]

    def _sort(self) -> None:
        if len(self._moved) * 8 > len(self.places):
            self._order = sorted(
                place.rank for place in self.places.values() if place.rank is not None
            )
        else:
            for rank in self._moved.values():
                self._take_out(rank)
            for key in self._moved:
                if (rank := self.places[key].rank) is not None:
                    insort(self._order, rank)
        self._moved.clear()

    def _take_out(self, rank: Rank | None) -> None:
        if rank is not None:
            del self._order[bisect_left(self._order, rank)]

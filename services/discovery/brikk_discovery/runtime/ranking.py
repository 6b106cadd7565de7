"""Those who offer one capability, kept in order of preference."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from brikk_discovery.domain.agent import Agent
from brikk_discovery.domain.ranking import Rank, State

C = TypeVar("C")


@dataclass(kw_only=True, slots=True, eq=False)
class Entry(Generic[C]):
    """A live agent in memory."""

    agent: Agent
    """As registered, with the load and the times of its last heartbeat."""
    beat_at: float
    """When that came, by the monotonic clock: what its silence is measured from."""
    state: State = State.READY
    rank: Rank | None = None
    candidate: C | None = None
    """The answer that offers it, made when its rank changes; None while it is not offered."""
    rankings: dict[str, Ranking[C]] = field(default_factory=dict)
    """Where it stands, by capability."""


class Ranking(Generic[C]):
    """The entries that offer one capability, best first.

    Heartbeats change ranks far more often than anybody asks for a given capability, so a change is
    only noted, and sorted in when somebody asks: an answer costs what it returns, plus what changed
    since the last one.
    """

    __slots__ = ("_moved", "_order", "members")

    def __init__(self) -> None:
        self.members: dict[str, Entry[C]] = {}
        self._order: list[tuple[Rank, Entry[C]]] = []
        # Members whose rank changed since they were sorted in, with the rank they stand under.
        self._moved: dict[str, Rank | None] = {}

    def add(self, entry: Entry[C]) -> None:
        """Take in a new member."""
        agent_id = entry.agent.key.agent_id
        self.members[agent_id] = entry
        self._moved[agent_id] = None

    def moving(self, entry: Entry[C]) -> None:
        """Note that a member's rank is about to change."""
        self._moved.setdefault(entry.agent.key.agent_id, entry.rank)

    def remove(self, entry: Entry[C]) -> None:
        """Let a member go, at once: a capability that nobody asks for must not keep the dead."""
        agent_id = entry.agent.key.agent_id
        del self.members[agent_id]
        self._take_out(self._moved.pop(agent_id, entry.rank))

    def best(self, limit: int, excluded: Collection[str] = ()) -> list[C]:
        """Give the candidates, best first, at most `limit`, without the excluded agent ids.

        Suspects are given only when nobody else is left.
        """
        if self._moved:
            self._sort()
        found: list[C] = []
        somebody = False
        for rank, entry in self._order:
            if len(found) == limit or (somebody and rank.suspect):
                break
            if rank.agent_id not in excluded and entry.candidate is not None:
                found.append(entry.candidate)
                somebody = somebody or not rank.suspect
        return found

    def _sort(self) -> None:
        if len(self._moved) * 8 > len(self.members):
            self._order = sorted(_offered(self.members.values()))
        else:
            for rank in self._moved.values():
                self._take_out(rank)
            for placed in _offered(self.members[agent_id] for agent_id in self._moved):
                insort(self._order, placed)
        self._moved.clear()

    def _take_out(self, rank: Rank | None) -> None:
        if rank is not None:
            del self._order[bisect_left(self._order, rank, key=lambda placed: placed[0])]


def _offered(entries: Iterable[Entry[C]]) -> Iterator[tuple[Rank, Entry[C]]]:
    # Ranks are unique, so comparing the pairs never reaches the entries.
    return ((entry.rank, entry) for entry in entries if entry.rank is not None)

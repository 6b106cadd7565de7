"""What one organisation's agents offer, by name, by capability and by prefix."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from brikk_discovery.runtime.ranking import Entry, Place, Ranking

C = TypeVar("C")

# Prefixes whose rankings are kept up to date, those asked for last.
_PREFIXES: Final = 16


@dataclass(slots=True)
class Organization(Generic[C]):
    """The live agents of an organisation, and the rankings in which they stand."""

    entries: dict[str, Entry[C]] = field(default_factory=dict)
    rankings: dict[str, Ranking[C]] = field(default_factory=dict)
    """By capability."""
    names: list[str] = field(default_factory=list)
    """The capabilities, sorted."""
    prefixes: OrderedDict[str, Ranking[C]] = field(default_factory=OrderedDict)

    def below(self, prefix: str, *, after: str = "") -> Iterator[str]:
        """Give the capabilities whose names begin so, in order."""
        at = max(bisect_left(self.names, prefix), bisect_right(self.names, after))
        while at < len(self.names) and self.names[at].startswith(prefix):
            yield self.names[at]
            at += 1

    def ranking_below(self, prefix: str) -> Ranking[C]:
        """Give the ranking of all capabilities below a prefix; it is kept while it is asked for."""
        ranking = self.prefixes.get(prefix)
        if ranking is None:
            ranking = self.prefixes[prefix] = Ranking()
            for name in self.below(prefix):
                for key, place in self.rankings[name].places.items():
                    ranking.put(key, place)
            if len(self.prefixes) > _PREFIXES:
                self.prefixes.popitem(last=False)
        self.prefixes.move_to_end(prefix)
        return ranking

    def put_in(self, agent_id: str, capability: str, place: Place[C]) -> None:
        """Take in a place, instead of the one that the agent had."""
        ranking = self.rankings.get(capability)
        if ranking is None:
            ranking = self.rankings[capability] = Ranking()
            insort(self.names, capability)
        key = (agent_id, capability)
        ranking.put(key, place)
        for prefix in [each for each in self.prefixes if capability.startswith(each)]:
            wider = self.prefixes[prefix]
            if wider.stale:
                del self.prefixes[prefix]
            else:
                wider.put(key, place)

    def take_out(self, agent_id: str, capability: str) -> None:
        """Let a place go."""
        ranking, key = self.rankings[capability], (agent_id, capability)
        ranking.remove(key)
        if not ranking.places:
            del self.rankings[capability]
            del self.names[bisect_left(self.names, capability)]
        for prefix, wider in self.prefixes.items():
            if capability.startswith(prefix):
                wider.remove(key)

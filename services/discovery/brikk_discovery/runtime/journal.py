"""What changed lately, so that watchers that were away or slow are told what they missed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import NamedTuple

from brikk_discovery.domain.agent import AgentKey


class Change(NamedTuple):
    """An agent's offer of a capability that came, changed or went."""

    key: AgentKey
    capability: str
    """Empty when it is not known which: any, whether it is offered now or not."""


class _Place(NamedTuple):
    number: int
    revision: int


class Journal:
    """The latest changes, each offer once, where it changed last; so its memory is bounded.

    It is read from a number, by those who were here, or from a revision, by those who come from
    another process. A revision finds every change that whoever knew the registry up to it may not
    have known, and some that it did: to be told twice harms nobody.

    Args:
        limit: most offers held.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._places: OrderedDict[Change, _Place] = OrderedDict()
        self._number = 0
        self._revision = 0
        # Up to this number, and below this revision, changes are forgotten or were never known.
        self._forgotten = 0
        self._floor = 0

    @property
    def number(self) -> int:
        """The number of the latest change."""
        return self._number

    def load(
        self, agents: Mapping[AgentKey, int], removals: Mapping[AgentKey, int], revision: int
    ) -> None:
        """Begin anew with what the store remembers: who changed or left last at which revision.

        The store forgets old removals, so nothing is known of before the oldest that it holds.
        """
        self._places.clear()
        self._revision = 0
        self._forgotten = self.turn()
        self._floor = min(removals.values(), default=revision + 1) - 1
        known = sorted((*agents.items(), *removals.items()), key=lambda item: item[1])
        for key, at in known:
            if at > self._floor:
                # Whoever knows the registry up to `at` knows of this: only those before read it.
                self.note(Change(key, ""), at - 1)
        self._revision = revision

    def note(self, change: Change, revision: int) -> None:
        """Take in a change that came to be known when the registry had reached a revision."""
        self._number += 1
        # One that is known late has its place among the late ones: all who missed it read on there.
        self._revision = max(self._revision, revision)
        self._places[change] = _Place(self._number, self._revision)
        self._places.move_to_end(change)
        if len(self._places) > self._limit:
            _, place = self._places.popitem(last=False)
            self._forgotten = place.number
            self._floor = place.revision + 1

    def turn(self) -> int:
        """Give a number of its own to a moment at which nothing changed."""
        self._number += 1
        return self._number

    def find(self, revision: int) -> int | None:
        """Give the number after which whoever knows all up to a revision must read on.

        None when some of that is forgotten.
        """
        if revision < self._floor:
            return None
        for place in reversed(self._places.values()):
            if place.revision < revision:
                return place.number
        return self._forgotten

    def since(self, organization: str, number: int) -> list[Change] | None:
        """Give an organisation's changes after a number; None when some of them are forgotten."""
        if number < self._forgotten:
            return None
        found: list[Change] = []
        for change, place in reversed(self._places.items()):
            if place.number <= number:
                break
            if change.key.organization == organization:
                found.append(change)
        return found

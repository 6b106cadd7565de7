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
    """Empty for whatever it offers or ever offered: other processes may have seen more of it than
    this one, which learns of some changes only together."""


class _Place(NamedTuple):
    number: int
    revision: int
    """Its own; changes without one have the latest."""
    reached: int
    """The latest when it came here: never less than that of the place before."""


class Journal:
    """The latest changes, each offer once, where it changed last; so its memory is bounded.

    It is read from a number, by those who were here, or from a revision, by those who come back. A
    revision finds every change that whoever knew the registry up to it may not have known, and some
    that it did: to be told twice harms nobody.

    Args:
        limit: most offers held.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._places: OrderedDict[Change, _Place] = OrderedDict()
        self._number = 0
        self._reached = 0
        # Up to this number, and below this revision, changes are forgotten or were never known.
        self._forgotten = 0
        self._floor = 0

    @property
    def number(self) -> int:
        """The number of the latest change."""
        return self._number

    def load(self, changes: Mapping[AgentKey, int], *, since: int, until: int) -> None:
        """Begin anew with what the store remembers between two revisions.

        Args:
            changes: at which revision agents changed or left, each once for all its offers.
        """
        self._places.clear()
        self._forgotten = self.turn()
        self._floor, self._reached = since, 0
        for key, revision in sorted(changes.items(), key=lambda item: item[1]):
            if revision > since:
                self.note(Change(key, ""), revision)
        self._reached = until

    def note(self, change: Change, revision: int) -> None:
        """Take in a change that came to be known when the registry had reached a revision."""
        self._number += 1
        self._reached = max(self._reached, revision)
        self._places[change] = _Place(self._number, revision, self._reached)
        self._places.move_to_end(change)
        if len(self._places) > self._limit:
            _, place = self._places.popitem(last=False)
            self._forgotten = place.number
            self._floor = place.reached + 1

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
            if place.reached < revision:
                return place.number
        return self._forgotten

    def since(
        self, organization: str, number: int, *, beyond: int | None = None
    ) -> list[Change] | None:
        """Give an organisation's changes after a number; None when some of them are forgotten.

        Args:
            beyond: for those who were not here, give the agents as wholes, too, that changed beyond
                the revision that they know.
        """
        if number < self._forgotten:
            return None
        found: list[Change] = []
        for change, place in reversed(self._places.items()):
            if place.number <= number:
                break
            if change.key.organization == organization and (
                change.capability or (beyond is not None and place.revision > beyond)
            ):
                found.append(change)
        return found

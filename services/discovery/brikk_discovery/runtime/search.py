"""The services that may be given work, by the words they use; kept up with the registry."""

from __future__ import annotations

from typing import Final, TypeVar

from brikk_discovery.domain.ranking import State
from brikk_discovery.domain.text_index import Match, TextIndex
from brikk_discovery.runtime.ranking import Entry

C = TypeVar("C")

_UNWANTED: Final = frozenset({State.DRAINING, State.MAINTENANCE})


class Search:
    """An index per organisation of what its live agents say of their services.

    Agents that are draining or in maintenance are not found, suspect ones behind the others.
    """

    def __init__(self) -> None:
        self._indexes: dict[str, TextIndex] = {}

    def note(self, before: Entry[C] | None, after: Entry[C] | None) -> None:
        """Learn what became of an agent; subscribe this to the registry before it is loaded."""
        if after is not None and after.state not in _UNWANTED:
            key = after.agent.key
            index = self._indexes.setdefault(key.organization, TextIndex())
            index.put(key.agent_id, after.agent.definition, suspect=after.state is State.SUSPECT)
        elif before is not None:
            key = before.agent.key
            index = self._indexes.get(key.organization, TextIndex())
            index.remove(key.agent_id)
            if not len(index):
                self._indexes.pop(key.organization, None)

    def find(self, organization: str, question: str, limit: int) -> list[Match]:
        """Give the services of an organisation that match best, at most `limit`."""
        index = self._indexes.get(organization)
        return [] if index is None else index.search(question, limit)

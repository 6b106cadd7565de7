"""An index of what agents say of their services, by which they are found from words."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from heapq import nlargest
from itertools import islice
from operator import itemgetter
from typing import Final

from brikk_discovery.domain.agent import Definition, Service
from brikk_discovery.domain.service_text import (
    HIGHEST_IMPACT,
    ServiceText,
    read,
    texts,
)
from brikk_discovery.domain.words import words

# What suspect agents offer is found, but behind what others offer that matches half as well.
_SUSPECT_FACTOR: Final = 0.5
# What keeps a question within bounds, however much is indexed. So many words of it count, rare ones
# first, and so many entries are read for them; the words that would take more, which are common,
# only tell apart the best of what the others found.
_MOST_WORDS: Final = 32
_MOST_READ: Final = 60_000
_MOST_REFINED: Final = 1_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Match:
    """A service that matches a question."""

    agent_id: str
    service: Service
    """Without its schemas."""
    score: float
    """How well; comparable within one answer only."""
    capabilities: tuple[str, ...]
    """Those that match by themselves, best first."""


@dataclass(kw_only=True, slots=True, eq=False)
class _Document:
    text: ServiceText
    terms: tuple[str, ...]
    by_capability: tuple[tuple[str, ...], ...]
    """The terms of each capability, in the service's order."""
    agents: dict[str, None] = field(default_factory=dict)
    sound: int = 0
    """How many of the agents are not suspect."""


@dataclass(kw_only=True, slots=True)
class _Held:
    display_name: str
    services: tuple[Service, ...]
    documents: tuple[_Document, ...]
    suspect: bool

    def says(self, definition: Definition) -> bool:
        return (self.display_name, self.services) == (definition.display_name, definition.services)


class TextIndex:
    """The services of an organisation's agents by the words they use: BM25 over fields.

    Replicas of an agent say the same: that is indexed once. To add or remove an agent costs what
    it says, and a question has a bounded cost, whatever is indexed.
    """

    def __init__(self) -> None:
        self._held: dict[str, _Held] = {}
        self._documents: dict[ServiceText, _Document] = {}
        # By term, what it counts for in each document.
        self._postings: defaultdict[str, dict[_Document, int]] = defaultdict(dict)
        # Those that none but suspect agents offer.
        self._doubtful: dict[_Document, None] = {}

    def __len__(self) -> int:
        """How many agents there are."""
        return len(self._held)

    def put(self, agent_id: str, definition: Definition, *, suspect: bool = False) -> None:
        """Take in an agent, or what became of it."""
        held = self._held.get(agent_id)
        if held is None or not held.says(definition):
            self.remove(agent_id)
            documents = tuple(map(self._document, texts(definition)))
            for document in documents:
                document.agents[agent_id] = None
                self._count_sound(document, 0 if suspect else 1)
            self._held[agent_id] = _Held(
                display_name=definition.display_name,
                services=definition.services,
                documents=documents,
                suspect=suspect,
            )
        elif held.suspect != suspect:
            held.suspect = suspect
            for document in held.documents:
                self._count_sound(document, -1 if suspect else 1)

    def remove(self, agent_id: str) -> None:
        """Let an agent go; one that is not held is no error."""
        held = self._held.pop(agent_id, None)
        if held is None:
            return
        for document in held.documents:
            del document.agents[agent_id]
            self._count_sound(document, 0 if held.suspect else -1)
            if not document.agents:
                self._forget(document)

    def search(self, question: str, limit: int) -> list[Match]:
        """Give the services that match best, at most `limit`.

        When there is not room for all, services that say the same give way to others.
        """
        weights = self._weights(question)
        best = nlargest(limit, self._scores(weights).items(), key=itemgetter(1))
        room = limit - len(best)
        found: list[Match] = []
        for document, score in best:
            capabilities = _matching(document, weights)
            agents = list(islice(self._soundest_first(document), 1 + room))
            room -= len(agents) - 1
            for agent_id in agents:
                outshone = document.sound and self._held[agent_id].suspect
                found.append(
                    Match(
                        agent_id=agent_id,
                        service=document.text.service,
                        score=score * (_SUSPECT_FACTOR if outshone else 1.0) / HIGHEST_IMPACT,
                        capabilities=capabilities,
                    )
                )
        return sorted(found, key=lambda match: -match.score)

    def _document(self, text: ServiceText) -> _Document:
        """Give the document of a text, indexed now if it is new."""
        document = self._documents.get(text)
        if document is None:
            reading = read(text)
            document = _Document(
                text=text, terms=tuple(reading.impacts), by_capability=reading.by_capability
            )
            self._documents[text] = document
            for term, impact in reading.impacts.items():
                self._postings[term][document] = impact
        return document

    def _forget(self, document: _Document) -> None:
        del self._documents[document.text]
        del self._doubtful[document]
        for term in document.terms:
            postings = self._postings[term]
            del postings[document]
            if not postings:
                del self._postings[term]

    def _count_sound(self, document: _Document, change: int) -> None:
        document.sound += change
        if document.sound:
            self._doubtful.pop(document, None)
        else:
            self._doubtful[document] = None

    def _weights(self, question: str) -> dict[str, float]:
        """Give the terms of a question that occur, rare ones first, and how much each tells."""
        total = len(self._documents)
        counts = {term: len(self._postings.get(term, ())) for term in words(question)}
        rarest = sorted((count, term) for term, count in counts.items() if count)
        return {
            term: math.log(1 + (total - count + 0.5) / (count + 0.5))
            for count, term in rarest[:_MOST_WORDS]
        }

    def _scores(self, weights: Mapping[str, float]) -> dict[_Document, float]:
        scores: dict[_Document, float] = {}
        left = _MOST_READ
        for term, weight in weights.items():
            postings = self._postings[term]
            if scores and len(postings) > left:
                left = 0  # the words to come are commoner still
                if len(scores) > _MOST_REFINED:
                    scores = dict(nlargest(_MOST_REFINED, scores.items(), key=itemgetter(1)))
                for document in scores:
                    scores[document] += weight * postings.get(document, 0)
            else:
                for document, impact in islice(postings.items(), left):
                    scores[document] = scores.get(document, 0.0) + weight * impact
                left -= len(postings)
        for document in self._doubtful.keys() & scores.keys():
            scores[document] *= _SUSPECT_FACTOR
        return scores

    def _soundest_first(self, document: _Document) -> Iterator[str]:
        for suspect in (False, True):
            for agent_id in document.agents:
                if self._held[agent_id].suspect is suspect:
                    yield agent_id


def _matching(document: _Document, weights: Mapping[str, float]) -> tuple[str, ...]:
    """Give the capabilities of a service that match by themselves, best first."""
    weighed = [
        (sum(weights.get(term, 0.0) for term in terms), item.name)
        for item, terms in zip(
            document.text.service.capabilities, document.by_capability, strict=True
        )
    ]
    matching = [(weight, name) for weight, name in weighed if weight]
    return tuple(name for _, name in sorted(matching, key=lambda each: -each[0]))

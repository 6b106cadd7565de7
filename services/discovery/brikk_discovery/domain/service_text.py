"""What an agent says of a service, as search reads it: which words, and what each counts for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from heapq import nlargest
from operator import itemgetter
from typing import Final, NamedTuple

from brikk_discovery.domain.agent import Definition, Service
from brikk_discovery.domain.words import words

HIGHEST_IMPACT: Final = 255
"""What a term counts for at most in a text, before it is weighed by how rare it is."""

# How soon more of the same word says nothing new.
_SATURATION: Final = 1.2
# How far a long field counts for less than a short one: 0 not at all, 1 in proportion.
_LENGTH_MATTERS: Final = 0.5
# What keeps a hostile registration within bounds: of its prose, and of its words.
_MOST_CHARACTERS: Final = 4_096
_MOST_TERMS: Final = 256


class _Field(NamedTuple):
    weight: float
    usual_words: int
    """So long a field is neither favoured nor disfavoured. A constant, not the mean of what is
    indexed: what a word counts for does not change when other services come and go."""


_DISPLAY_NAME: Final = _Field(1.0, 2)
_SERVICE_ID: Final = _Field(2.0, 2)
_SERVICE_DESCRIPTION: Final = _Field(1.0, 10)
_NAME: Final = _Field(2.0, 2)
_DESCRIPTION: Final = _Field(1.5, 10)
_TAGS: Final = _Field(2.0, 3)
_EXAMPLES: Final = _Field(1.5, 10)


@dataclass(frozen=True, slots=True)
class ServiceText:
    """All that there is to read of a service; the same for every replica of an agent."""

    display_name: str
    service: Service
    """Without its schemas: they are not searched."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """The terms of a text."""

    impacts: Mapping[str, int]
    """What each counts for, 0 to HIGHEST_IMPACT."""
    by_capability: tuple[tuple[str, ...], ...]
    """Those of each capability, in the service's order."""


def texts(definition: Definition) -> Iterator[ServiceText]:
    """Give what there is to read of an agent's services."""
    for service in definition.services:
        capabilities = tuple(
            item
            if item.input_schema is item.output_schema is None
            else replace(item, input_schema=None, output_schema=None)
            for item in service.capabilities
        )
        yield ServiceText(definition.display_name, replace(service, capabilities=capabilities))


def read(text: ServiceText) -> Reading:
    """Read a text: BM25 over fields, its half that does not depend on other texts.

    Each capability is judged by itself: a service is neither better nor worse for offering more.
    """
    service = text.service
    most = _MOST_CHARACTERS // len(service.capabilities)
    best: dict[str, float] = {}
    by_capability: list[dict[str, float]] = []
    for item in service.capabilities:
        terms: dict[str, float] = {}
        _count(terms, _NAME, item.name)
        _count(terms, _DESCRIPTION, item.description[:most])
        _count(terms, _TAGS, " ".join(item.tags)[:most])
        _count(terms, _EXAMPLES, " ".join(item.examples)[:most])
        for term, frequency in terms.items():
            if frequency > best.get(term, 0.0):
                best[term] = frequency
        by_capability.append(terms)
    _count(best, _DISPLAY_NAME, text.display_name)
    _count(best, _SERVICE_ID, service.service_id)
    _count(best, _SERVICE_DESCRIPTION, service.description)
    if len(best) > _MOST_TERMS:
        best = dict(nlargest(_MOST_TERMS, best.items(), key=itemgetter(1)))
    return Reading(
        impacts={
            term: round(HIGHEST_IMPACT * frequency / (_SATURATION + frequency))
            for term, frequency in best.items()
        },
        by_capability=tuple(
            tuple(term for term in terms if term in best) for terms in by_capability
        ),
    )


def _count(terms: dict[str, float], place: _Field, text: str) -> None:
    """Add the frequencies of a field's words, weighed by the field and its length."""
    found = words(text)
    weight = place.weight / (1 + _LENGTH_MATTERS * (len(found) / place.usual_words - 1))
    for term in found:
        terms[term] = terms.get(term, 0.0) + weight

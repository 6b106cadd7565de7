"""What watchers watch, what they are told of it, and which of them a change concerns."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from brikk_discovery.runtime.journal import Change
from brikk_discovery.runtime.ranking import Place
from brikk_discovery.store.agents import Position

C = TypeVar("C")
M = TypeVar("M")

_BELOW: Final = ".*"
# Steps that are held for watchers who are a little late: whoever is later gets one step for all.
_STEPS: Final = 8
# Candidates in a part of a snapshot, which lies in memory for each watcher that is sent it.
_PART: Final = 200


@dataclass(frozen=True, slots=True)
class Watched:
    """Capabilities of an organisation: whole names, and `prefix.*` for those below a prefix."""

    organization: str
    capabilities: tuple[str, ...]
    """Sorted, none covered by another."""

    @classmethod
    def of(cls, organization: str, capabilities: Iterable[str]) -> Watched:
        """Give the least set that means the same."""
        wished = set(capabilities)
        least = (
            item
            for item in wished
            if not any(prefix + "*" in wished for prefix in prefixes_of(item.removesuffix(_BELOW)))
        )
        return cls(organization, tuple(sorted(least)))


@dataclass(frozen=True, kw_only=True, slots=True)
class Step(Generic[M]):
    """A message that leads on to a moment of a topic."""

    message: M
    number: int
    """Of that moment, in the journal."""
    revision: int
    """How far the registry had come then."""
    changes: int


@dataclass(kw_only=True, slots=True)
class Image(Generic[C, M]):
    """All that a topic watches as it stood at a moment."""

    places: Sequence[Place[C]]
    position: Position
    parts: dict[int, M] | None = field(default_factory=dict)
    """Messages by where they begin, while others will want them too."""

    @property
    def beginnings(self) -> range:
        """Where the parts of a snapshot begin; one of nothing has one part."""
        return range(0, max(len(self.places), 1), _PART)

    def part(self, begin: int) -> tuple[Sequence[Place[C]], bool]:
        """Give the part that begins there, and whether it is the last."""
        end = begin + _PART
        return self.places[begin:end], end >= len(self.places)


class Topic(Generic[C, M]):
    """All watchers of the same capabilities: what they are told is made once for all of them."""

    def __init__(self, watched: Watched, number: int, position: Position) -> None:
        self.watched = watched
        self.watchers = 0
        self.number = number
        """The moment up to which those are told who keep up: a number of the journal."""
        self.position = position
        """How far the registry had come then."""
        self.fresh: dict[Change, None] = {}
        """Changes since then."""
        self.image: Image[C, M] | None = None
        """How it stands now, if somebody asked since the last change."""
        self._names = frozenset(item for item in watched.capabilities if item[-1] != "*")
        self._prefixes = tuple(item[:-1] for item in watched.capabilities if item[-1] == "*")
        self._steps: OrderedDict[tuple[int, int | None], Step[M]] = OrderedDict()
        self._turned = asyncio.Event()

    @property
    def names(self) -> frozenset[str]:
        """The capabilities that are watched by their whole names."""
        return self._names

    @property
    def prefixes(self) -> tuple[str, ...]:
        """What the names of the other watched ones begin with: `text.` for `text.*`."""
        return self._prefixes

    def concerns(self, capability: str) -> bool:
        """Whether it is one of the watched capabilities."""
        return capability in self._names or capability.startswith(self._prefixes)

    def touch(self, change: Change) -> None:
        """Note a change of what is watched, to be told at the next turn."""
        self.fresh[change] = None
        self.settle()

    def settle(self) -> None:
        """Let go of the image: those who are being told it go on, but alone."""
        if self.image is not None:
            self.image.parts = None
            self.image = None

    def turn(self, step: Step[M]) -> None:
        """Take the step to a new moment, and wake everybody."""
        self.keep(self.number, step)
        self._move(step.number)

    def restart(self, number: int) -> None:
        """Begin at a moment to which no step leads, and wake everybody."""
        self._steps.clear()
        self.settle()
        self._move(number)

    def keep(self, number: int, step: Step[M], *, beyond: int | None = None) -> None:
        """Hold a step for the others who go on from a number."""
        self._steps[number, beyond] = step
        self._steps.move_to_end((number, beyond))
        if len(self._steps) > _STEPS:
            self._steps.popitem(last=False)

    def step(self, number: int, *, beyond: int | None = None) -> Step[M] | None:
        """Give the step that goes on from a number, if it is held.

        Args:
            beyond: the revision that those know who were not here before.
        """
        return self._steps.get((number, beyond))

    async def moved(self, number: int) -> None:
        """Wait until there is something to tell to those who were told up to a number."""
        while self.number <= number:
            await self._turned.wait()

    def _move(self, number: int) -> None:
        self.number = number
        self.fresh.clear()
        self._turned.set()
        self._turned = asyncio.Event()


@dataclass(slots=True)
class Topics(Generic[C, M]):
    """The topics that have watchers, found by what they watch."""

    _all: dict[Watched, Topic[C, M]] = field(default_factory=dict)
    _by_name: dict[tuple[str, str], set[Topic[C, M]]] = field(default_factory=dict)
    _by_prefix: dict[tuple[str, str], set[Topic[C, M]]] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Topic[C, M]]:
        return iter(self._all.values())

    def find(self, watched: Watched) -> Topic[C, M] | None:
        """Give the topic of a watched set."""
        return self._all.get(watched)

    def add(self, topic: Topic[C, M]) -> None:
        """Take in a topic."""
        self._all[topic.watched] = topic
        organization = topic.watched.organization
        for name in topic.names:
            self._by_name.setdefault((organization, name), set()).add(topic)
        for prefix in topic.prefixes:
            self._by_prefix.setdefault((organization, prefix), set()).add(topic)

    def remove(self, topic: Topic[C, M]) -> None:
        """Let a topic go."""
        del self._all[topic.watched]
        organization = topic.watched.organization
        for name in topic.names:
            _discard(self._by_name, (organization, name), topic)
        for prefix in topic.prefixes:
            _discard(self._by_prefix, (organization, prefix), topic)

    def concerned(self, organization: str, capability: str) -> Iterator[Topic[C, M]]:
        """Give the topics that watch a capability; those with several reasons come repeatedly."""
        yield from self._by_name.get((organization, capability), ())
        if self._by_prefix:
            for prefix in prefixes_of(capability):
                yield from self._by_prefix.get((organization, prefix), ())


def prefixes_of(capability: str) -> Iterator[str]:
    """Give `a.` and `a.b.` for `a.b.c`."""
    return (capability[: at + 1] for at, letter in enumerate(capability) if letter == ".")


def _discard(
    index: dict[tuple[str, str], set[Topic[C, M]]], key: tuple[str, str], topic: Topic[C, M]
) -> None:
    index[key].discard(topic)
    if not index[key]:
        del index[key]

"""Keeps watchers informed: a snapshot, then what changes, each message made once for all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Final, Generic, TypeVar

from brikk_discovery.domain.agent import AgentKey
from brikk_discovery.runtime.composing import Composer
from brikk_discovery.runtime.hints import Hints
from brikk_discovery.runtime.journal import Change, Journal
from brikk_discovery.runtime.metrics import Metrics
from brikk_discovery.runtime.news import (
    Cause,
    Observations,
    Resume,
    Resync,
)
from brikk_discovery.runtime.ranking import Entry
from brikk_discovery.runtime.registry import Registry
from brikk_discovery.runtime.seats import Seats
from brikk_discovery.runtime.topics import Step, Topic, Topics, Watched
from brikk_discovery.store.agents import Position
from brikk_shared.clock import Clock

C = TypeVar("C")
M = TypeVar("M")
T = TypeVar("T")

# Most changes in a message, which must stay below what gRPC's clients take: 4 MiB.
_MOST_CHANGES: Final = 2000
# How long another replica's revision may take to come here, and how often is looked.
_CATCH_UP: Final = timedelta(seconds=2)
_LOOK: Final = timedelta(milliseconds=50)
# How long what callers experience is gathered: watchers learn of their own calls by themselves.
_OBSERVATIONS: Final = timedelta(seconds=3)


class Watchers(Generic[C, M]):
    """Tells watchers what changes, newest state only.

    A watcher is no more than a number of the journal: whatever changed after it, it has yet to be
    told. Those who watch the same and keep up share each message; whoever is slow, or comes back,
    gets one message of all that it missed. So nothing is ever buffered for anybody.

    Args:
        composer: makes the messages.
        alone_since: the revision at which this process began, when no other writes to the store: so
            whoever knows of later ones from another process knows what was lost since.
        position: tells up to where all changes have come here. That is not the newest that came:
            our own commits come at once, those of other replicas a little later.
        coalescing: the least time between two messages of changes.
        bookmarks: how often those are told that nothing changed to whom nothing is told.
    """

    def __init__(
        self,
        *,
        registry: Registry[C],
        journal: Journal,
        composer: Composer[C, M],
        position: Callable[[], Position],
        alone_since: int | None,
        seats: Seats,
        coalescing: timedelta,
        bookmarks: timedelta,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._registry = registry
        self._journal = journal
        self._composer = composer
        self._position = position
        self._epoch = position().epoch
        self._alone_since = alone_since
        self._seats = seats
        self._coalescing = coalescing
        self._bookmarks = bookmarks
        self._clock = clock
        self._metrics = metrics
        self._topics: Topics[C, M] = Topics()
        self._touched: set[Topic[C, M]] = set()
        self._stirred = asyncio.Event()
        self._hints = Hints(registry)
        registry.subscribe_revisions(self._note_revision)
        registry.subscribe(self._note)

    async def run(self) -> None:
        """Tell what changes, at once but not again before the coalescing time, until cancelled."""
        while True:
            await self._stirred.wait()
            self._stirred.clear()
            self.tell()
            await self._clock.sleep(self._coalescing)

    async def run_bookmarks(self) -> None:
        """Tell all watchers now and then that their streams are alive, until cancelled."""
        while True:
            await self._clock.sleep(self._bookmarks)
            self.mark()

    async def run_observations(self) -> None:
        """Tell now and then how the calls of others went, until cancelled."""
        while True:
            await self._hints.wait()
            await self._clock.sleep(_OBSERVATIONS)
            self.tell_observations()

    def tell(self) -> None:
        """Tell what changed since the last time."""
        self._here()
        touched, self._touched = self._touched, set()
        for topic in touched:
            self._turn(topic)

    def tell_observations(self) -> None:
        """Tell how calls went where that changed noticeably."""
        self.tell()
        observed: dict[Topic[C, M], dict[Change, C]] = {}
        for change, place in self._hints.take():
            for topic in self._topics.concerned(change.key.organization, change.capability):
                observed.setdefault(topic, {})[change] = place.candidate()
        for topic, candidates in observed.items():
            for some in _pieces(list(candidates.values())):
                message = self._composer.write(topic.watched, Observations(candidates=some), None)
                number, revision = self._journal.turn(), topic.position.revision
                topic.turn(Step(message=message, number=number, revision=revision, changes=0))

    def mark(self) -> None:
        """Tell what changed since the last time, and everybody else that nothing did."""
        self._here()
        self._touched.clear()
        for topic in self._topics:
            topic.settle()
            self._turn(topic)

    async def follow(self, watched: Watched, resume: Resume | None) -> AsyncGenerator[M, None]:
        """Give a watcher its messages, without end; with nothing to resume, a snapshot first.

        Raises:
            ResourceExhausted: QUOTA_EXCEEDED, there are as many watchers as may be.
        """
        with self._seats.take(watched.organization), self._at(watched) as topic:
            step = None if resume is None else await self._resume(topic, resume)
            while True:
                if isinstance(step, Cause):
                    self._metrics.resyncs.labels(step).inc()
                    yield self._composer.write(watched, Resync(step), None)
                    step = None
                if step is None:
                    image = self._composer.image(topic, self._here())
                    number = topic.number
                    for begin in image.beginnings:
                        yield self._composer.part(watched, image, begin)
                else:
                    number = step.number
                    self._metrics.changes_sent.inc(step.changes)
                    yield step.message
                await topic.moved(number)
                step = topic.step(number) or self._missed(topic, number)

    def _note_revision(self, key: AgentKey, revision: int) -> None:
        self._journal.note(Change(key, ""), revision)

    def _note(self, before: Entry[C] | None, after: Entry[C] | None) -> None:
        revision = self._registry.revision
        capabilities = dict.fromkeys(
            capability
            for entry in (before, after)
            if entry is not None
            for capability, place in entry.places.items()
            if place.rank is not None
        )
        present = after or before
        assert present is not None  # nobody neither came nor went
        key = present.agent.key
        for capability in capabilities:
            change = Change(key, capability)
            self._journal.note(change, revision)
            for topic in self._topics.concerned(key.organization, capability):
                topic.touch(change)
                self._touched.add(topic)
        if self._touched:
            self._stirred.set()

    def _here(self) -> Position:
        """Tell the position; when it is one in another history, everybody begins anew."""
        here = self._position()
        if here.epoch != self._epoch:
            self._epoch = here.epoch
            self._journal.load({}, since=here.revision, until=here.revision)
            self._touched.clear()
            for topic in self._topics:
                topic.restart(self._journal.number)
        return here

    @contextmanager
    def _at(self, watched: Watched) -> Iterator[Topic[C, M]]:
        topic = self._topics.find(watched)
        if topic is None:
            topic = Topic(watched, self._journal.turn(), self._here())
            self._topics.add(topic)
        topic.watchers += 1
        try:
            yield topic
        finally:
            topic.watchers -= 1
            if not topic.watchers:
                self._topics.remove(topic)
                self._touched.discard(topic)

    async def _resume(self, topic: Topic[C, M], resume: Resume) -> Step[M] | Cause:
        elsewhere = resume.process != self._composer.process
        latest = self._alone_since if elsewhere else None
        until = self._clock.monotonic() + _CATCH_UP.total_seconds()
        while (here := self._here()).epoch == resume.epoch:
            if latest is not None and latest < resume.revision:
                return Cause.AHEAD
            if here.revision >= resume.revision:
                break
            if self._clock.monotonic() >= until:
                return Cause.AHEAD
            await self._clock.sleep(_LOOK)
        else:
            return Cause.OTHER_REGISTRY
        number = self._journal.find(resume.revision)
        if number is None:
            return Cause.FORGOTTEN
        beyond = resume.revision if elsewhere else None
        step = topic.step(number, beyond=beyond)
        if step is not None and step.revision >= resume.revision:
            return step
        return self._missed(topic, number, beyond=beyond)

    def _missed(
        self, topic: Topic[C, M], number: int, *, beyond: int | None = None
    ) -> Step[M] | Cause:
        """Give one step for all that changed since a number."""
        missed = self._journal.since(topic.watched.organization, number, beyond=beyond)
        if missed is None:
            return Cause.FORGOTTEN
        changes: dict[Change, None] = {}
        for change in missed:
            if change.capability:
                if topic.concerns(change.capability):
                    changes[change] = None
            elif topic.prefixes:
                # Nobody here knows the names of all that it may have offered.
                return Cause.FORGOTTEN
            else:
                changes.update((Change(change.key, name), None) for name in topic.names)
            if len(changes) > _MOST_CHANGES:
                return Cause.TOO_MUCH
        step = self._composer.step(topic, changes, number=topic.number, position=self._here())
        topic.keep(number, step, beyond=beyond)
        return step

    def _turn(self, topic: Topic[C, M]) -> None:
        """Lead those who keep up with a topic to the present."""
        here, pieces = self._here(), _pieces(list(topic.fresh))
        for piece in pieces:
            # Until the last piece is told, a watcher knows no more than before.
            topic.position = here if piece is pieces[-1] else topic.position
            number = self._journal.turn()
            topic.turn(self._composer.step(topic, piece, number=number, position=topic.position))


def _pieces(items: Sequence[T]) -> list[Sequence[T]]:
    """Part what is told into messages; nothing is told in one."""
    count = max(len(items), 1)
    return [items[at : at + _MOST_CHANGES] for at in range(0, count, _MOST_CHANGES)]

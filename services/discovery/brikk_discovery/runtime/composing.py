"""Makes the messages that watchers are sent, from how the registry stands now."""

from __future__ import annotations

from collections.abc import Callable, Collection
from itertools import chain
from typing import Generic, TypeVar

from brikk_discovery.runtime.journal import Change
from brikk_discovery.runtime.news import Bookmark, Changes, News, Resume, Snapshot
from brikk_discovery.runtime.registry import Registry
from brikk_discovery.runtime.topics import Image, Step, Topic, Watched
from brikk_discovery.store.agents import Position

C = TypeVar("C")
M = TypeVar("M")


class Composer(Generic[C, M]):
    """Looks up what changed, so that a message always tells the newest state.

    Args:
        write: makes the message for some news; with what a watcher then knows, it can be gone on
            from.
        process: names this process.
    """

    def __init__(
        self,
        registry: Registry[C],
        write: Callable[[Watched, News[C], Resume | None], M],
        process: str,
    ) -> None:
        self._registry = registry
        self.write = write
        self.process = process

    def step(
        self, topic: Topic[C, M], changes: Collection[Change], *, number: int, position: Position
    ) -> Step[M]:
        """Tell of changes what they led to, whatever it was."""
        upserted: list[C] = []
        removed: list[Change] = []
        for change in changes:
            entry = self._registry.get(change.key)
            place = None if entry is None else entry.places.get(change.capability)
            if place is None or place.rank is None:
                removed.append(change)
            else:
                upserted.append(place.candidate())
        news: News[C] = Bookmark()
        if changes:
            news = Changes(upserted=upserted, removed=removed)
        message = self.write(topic.watched, news, self._known(position))
        return Step(
            message=message, number=number, revision=position.revision, changes=len(changes)
        )

    def image(self, topic: Topic[C, M], position: Position) -> Image[C, M]:
        """Give how a topic stands; the same for all until it changes."""
        if topic.image is None:
            organization, capabilities = topic.watched.organization, topic.watched.capabilities
            places = (self._registry.places(organization, item) for item in capabilities)
            offered = [each for each in chain.from_iterable(places) if each.rank is not None]
            topic.image = Image(places=offered, position=position)
        return topic.image

    def part(self, watched: Watched, image: Image[C, M], begin: int) -> M:
        """Write the part of a snapshot that begins there."""
        held = None if image.parts is None else image.parts.get(begin)
        if held is not None:
            return held
        places, complete = image.part(begin)
        news: News[C] = Snapshot(
            candidates=[place.candidate() for place in places], complete=complete
        )
        message = self.write(watched, news, self._known(image.position) if complete else None)
        if image.parts is not None:
            image.parts[begin] = message
        return message

    def _known(self, position: Position) -> Resume:
        return Resume(epoch=position.epoch, revision=position.revision, process=self.process)

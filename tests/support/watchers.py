"""Replicas of a registry with their watchers, without a store or a socket between them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from prometheus_client import CollectorRegistry

from brikk_discovery.domain.agent import Agent, AgentKey, Capability, Definition, Load, Service
from brikk_discovery.domain.offer import Offer
from brikk_discovery.runtime.composing import Composer
from brikk_discovery.runtime.journal import Journal
from brikk_discovery.runtime.metrics import Metrics
from brikk_discovery.runtime.news import (
    Bookmark,
    Changes,
    News,
    Observations,
    Resume,
    Resync,
    Snapshot,
)
from brikk_discovery.runtime.registry import Registry
from brikk_discovery.runtime.seats import Seats
from brikk_discovery.runtime.topics import Watched
from brikk_discovery.runtime.watchers import Watchers
from brikk_discovery.store.agents import Position
from brikk_shared.testing import ManualClock

NOW = datetime(2026, 1, 1, tzinfo=UTC)
Candidate: TypeAlias = tuple[str, str, str, int]
Message: TypeAlias = tuple[News[Candidate], Resume | None]


def candidate(offer: Offer) -> Candidate:
    agent = offer.agent
    return agent.key.agent_id, offer.variant.capability.name, offer.state, agent.revision


def agent(
    agent_id: str, capabilities: set[str], *, epoch: int, organization: str = "acme"
) -> Agent:
    names = tuple(Capability(name=name) for name in sorted(capabilities))
    return Agent(
        key=AgentKey(organization, agent_id),
        incarnation=str(epoch),
        epoch=epoch,
        revision=epoch,
        definition=Definition(
            endpoint="127.0.0.1:9000",
            labels={},
            services=(Service(service_id="main", capabilities=names),),
            capacity=2,
        ),
        load=Load(),
        register_time=NOW,
        beat_time=NOW,
        expire_time=NOW,
    )


class Store:
    """What replicas share: agents and removals by revision."""

    def __init__(self) -> None:
        self.epoch = "first"
        self.revision = 0
        self.agents: dict[AgentKey, Agent] = {}
        self.removals: dict[AgentKey, int] = {}
        self.forgotten = 0


class Replica:
    """A registry with its watchers, which learns of others' commits when it feeds."""

    def __init__(
        self,
        store: Store,
        *,
        alone: bool,
        history: int = 30,
        limits: tuple[int, int] = (1000, 1000),
    ) -> None:
        self.store, self.alone = store, alone
        self.seen = store.revision
        self.clock = ManualClock()
        self.registry: Registry[Candidate] = Registry(candidate)
        for each in store.agents.values():
            self.registry.put(each)
        self.registry.reach(store.revision)
        self.journal = Journal(history)
        changes = store.removals | {key: each.revision for key, each in store.agents.items()}
        self.journal.load(changes, since=store.forgotten, until=store.revision)
        self.metrics = CollectorRegistry()
        metrics = Metrics(self.metrics)
        self.watchers: Watchers[Candidate, Message] = Watchers(
            registry=self.registry,
            journal=self.journal,
            composer=Composer(self.registry, lambda _, *message: message, f"process-{id(self)}"),
            position=self.position,
            alone_since=store.revision if alone else None,
            seats=Seats(
                "watchers", per_organization=limits[0], in_all=limits[1], taken=metrics.watchers
            ),
            coalescing=timedelta(milliseconds=20),
            bookmarks=timedelta(seconds=10),
            clock=self.clock,
            metrics=metrics,
        )

    def position(self) -> Position:
        revision = self.registry.revision if self.alone else self.seen
        return Position(epoch=self.store.epoch, revision=revision, turn=0, time=NOW)

    def put(self, changed: Agent) -> None:
        self.store.revision += 1
        changed = replace(changed, revision=self.store.revision)
        self.store.agents[changed.key] = changed
        self.registry.put(changed)

    def remove(self, key: AgentKey) -> None:
        self.store.revision += 1
        if self.store.agents.pop(key, None) is not None:
            self.store.removals[key] = self.store.revision
            self.registry.remove(key, self.store.revision)

    def beat(self, held: Agent) -> None:
        self.registry.beat(
            held.key,
            held.epoch,
            held.load,
            beat_time=held.beat_time,
            expire_time=held.expire_time,
        )

    def feed(self) -> None:
        for each in list(self.store.agents.values()):
            if each.revision > self.seen:
                self.registry.put(each)
                self.beat(each)
        for key, revision in self.store.removals.items():
            if revision > self.seen:
                self.registry.remove(key, revision)
        self.seen = self.store.revision
        self.registry.reach(self.seen)

    def offered(self, watched: Watched) -> dict[tuple[str, str], Candidate]:
        return {
            (item[0], item[1]): item
            for capability in watched.capabilities
            for place in self.registry.places(watched.organization, capability)
            if place.rank is not None
            for item in [place.candidate()]
        }


@dataclass(eq=False)
class Client:
    """A watcher that may be slow, leave, and come back elsewhere."""

    watched: Watched
    replica: Replica
    loop: asyncio.AbstractEventLoop
    knows: dict[tuple[str, str], Candidate] = field(default_factory=dict)
    resume: Resume | None = None
    moved: bool = False
    """Whether it came from elsewhere: what has no revision is then only a hint."""
    news: list[News[Candidate]] = field(default_factory=list)
    _coming: dict[tuple[str, str], Candidate] = field(default_factory=dict)
    _stream: AsyncGenerator[Message, None] | None = None
    _reading: asyncio.Task[Message] | None = None

    def connect(self, replica: Replica) -> None:
        """Begin a stream, with what it knows."""
        self.moved = self.moved or (self.resume is not None and replica is not self.replica)
        self.replica = replica
        self._stream = replica.watchers.follow(self.watched, self.resume)

    def leave(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            self.loop.run_until_complete(asyncio.wait({self._reading}))
            self._reading = None
        if self._stream is not None:
            self.loop.run_until_complete(self._stream.aclose())
            self._stream = None
        self._coming.clear()

    def read(self) -> bool:
        """Take one message in, if there is one."""
        assert self._stream is not None
        if self._reading is None:
            self._reading = self.loop.create_task(anext(self._stream))
        self.loop.run_until_complete(_turns())
        if not self._reading.done():
            return False
        reading, self._reading = self._reading, None
        news, known = reading.result()
        self._take(news)
        if known is not None:
            if self.resume is not None and not isinstance(news, Snapshot):
                assert known.revision >= self.resume.revision
            self.resume = known
        return True

    def catch_up(self) -> None:
        while self.read():
            pass

    def _take(self, news: News[Candidate]) -> None:
        self.news.append(news)
        match news:
            case Snapshot():
                self._coming |= {(item[0], item[1]): item for item in news.candidates}
                if news.complete:
                    self.knows, self._coming = self._coming, {}
                    self.moved = False
            case Changes():
                self.knows |= {(item[0], item[1]): item for item in news.upserted}
                for change in news.removed:
                    self.knows.pop((change.key.agent_id, change.capability), None)
            case Resync() | Bookmark() | Observations():
                pass


async def _turns() -> None:
    for _ in range(8):
        await asyncio.sleep(0)

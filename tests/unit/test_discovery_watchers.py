"""Whatever happens in whatever order, whoever takes in what it is told knows what there is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, TypeAlias

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from prometheus_client import CollectorRegistry

from brikk_discovery.domain.agent import (
    Agent,
    AgentKey,
    Capability,
    Definition,
    Doubt,
    Load,
    Service,
)
from brikk_discovery.domain.offer import Offer
from brikk_discovery.runtime.journal import Journal
from brikk_discovery.runtime.metrics import Metrics
from brikk_discovery.runtime.registry import Registry
from brikk_discovery.runtime.topics import Watched
from brikk_discovery.runtime.watchers import (
    Bookmark,
    Changes,
    Limits,
    News,
    Resume,
    Resync,
    Snapshot,
    Watchers,
)
from brikk_discovery.store.agents import Position
from brikk_shared.testing import ManualClock

NOW = datetime(2026, 1, 1, tzinfo=UTC)
Candidate: TypeAlias = tuple[str, str, str, int]
Message: TypeAlias = tuple[News[Candidate], Position | None]


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


class Replica:
    """A registry with its watchers, which learns of others' commits when it feeds."""

    def __init__(
        self, store: Store, *, alone: bool, history: int = 30, limits: Limits | None = None
    ) -> None:
        self.store, self.alone = store, alone
        self.seen = store.revision
        self.clock = ManualClock()
        self.registry: Registry[Candidate] = Registry(candidate)
        for each in store.agents.values():
            self.registry.put(each)
        self.registry.reach(store.revision)
        self.journal = Journal(history)
        revisions = {key: each.revision for key, each in store.agents.items()}
        self.journal.load(revisions, store.removals, store.revision)
        self.metrics = CollectorRegistry()
        self.watchers: Watchers[Candidate, Message] = Watchers(
            registry=self.registry,
            journal=self.journal,
            write=lambda _, news, position: (news, position),
            position=self.position,
            limits=limits or Limits(per_organization=1000, in_all=1000),
            coalescing=timedelta(milliseconds=20),
            bookmarks=timedelta(seconds=10),
            clock=self.clock,
            metrics=Metrics(self.metrics),
        )

    def position(self) -> Position:
        revision = self.registry.revision if self.alone else self.seen
        return Position(epoch=self.store.epoch, revision=revision, time=NOW)

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
    resyncs: int = 0
    kinds: list[type] = field(default_factory=list)
    _coming: dict[tuple[str, str], Candidate] = field(default_factory=dict)
    _stream: AsyncGenerator[Message, None] | None = None
    _reading: asyncio.Task[Message] | None = None

    def connect(self, replica: Replica) -> None:
        self.moved = self.moved or (self.resume is not None and replica is not self.replica)
        self.replica = replica
        self._stream = replica.watchers.follow(self.watched, self.resume)

    def leave(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            with suppress(asyncio.CancelledError):
                self.loop.run_until_complete(self._reading)
            self._reading = None
        if self._stream is not None:
            self.loop.run_until_complete(self._stream.aclose())
            self._stream = None
        self._coming.clear()

    def read(self) -> bool:
        """Take one message in, if there is one."""
        assert self._stream is not None
        if self._reading is None:
            following: Coroutine[Any, Any, Message] = anext(self._stream)  # type: ignore[assignment]  # a coroutine in fact
            self._reading = self.loop.create_task(following)
        self.loop.run_until_complete(_turns())
        if not self._reading.done():
            return False
        news, position = self._reading.result()
        self._reading = None
        self._take(news)
        if position is not None:
            if self.resume is not None and not isinstance(news, Snapshot):
                assert position.revision >= self.resume.revision
            self.resume = Resume(epoch=position.epoch, revision=position.revision)
        return True

    def catch_up(self) -> None:
        while self.read():
            pass

    def _take(self, news: News[Candidate]) -> None:
        self.kinds.append(type(news))
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
            case Resync():
                self.resyncs += 1
            case Bookmark():
                pass


async def _turns() -> None:
    for _ in range(8):
        await asyncio.sleep(0)


AGENTS = st.sampled_from([AgentKey("acme", f"agent-{number}") for number in range(6)])
CAPABILITIES = st.sets(st.sampled_from(["t.a", "t.b", "t.b.c", "u.a"]), min_size=1)
WATCHED = st.sampled_from(
    [
        Watched.of("acme", capabilities)
        for capabilities in (["t.a"], ["t.*"], ["t.a", "u.a"], ["u.a", "t.b", "t.b.*"])
    ]
)
CLIENTS = st.integers(0, 3)
# Silence ends in memory at once and in the store a little later: others read of it only then.
DOUBTS = st.sampled_from([Doubt.NONE, Doubt.UNREACHABLE])


class WatchMachine(RuleBasedStateMachine):
    """One process over a store of its own."""

    replicas: ClassVar[int] = 1

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.store = Store()
        alone = self.replicas == 1
        self.running = [Replica(self.store, alone=alone) for _ in range(self.replicas)]
        self.clients: list[Client] = []
        self.time = NOW

    def teardown(self) -> None:
        for client in self.clients:
            client.leave()
        self.loop.close()

    def at(self, number: int) -> Replica:
        return self.running[number % self.replicas]

    @rule(key=AGENTS, capabilities=CAPABILITIES, where=st.integers(0, 1))
    def register(self, key: AgentKey, capabilities: set[str], where: int) -> None:
        self.at(where).put(agent(key.agent_id, capabilities, epoch=self.store.revision + 1))

    @rule(key=AGENTS, where=st.integers(0, 1))
    def remove(self, key: AgentKey, where: int) -> None:
        self.at(where).remove(key)

    @rule(
        key=AGENTS,
        doubt=st.sampled_from([Doubt.NONE, Doubt.UNREACHABLE]),
        draining=st.booleans(),
        where=st.integers(0, 1),
    )
    def flip(self, key: AgentKey, doubt: Doubt, draining: bool, where: int) -> None:
        if (held := self.store.agents.get(key)) is not None:
            self.time += timedelta(seconds=1)
            load = replace(held.load, draining=draining)
            flipped = replace(held, doubt=doubt, load=load, beat_time=self.time)
            self.at(where).beat(flipped)
            self.at(where).put(flipped)

    @rule(key=AGENTS, in_flight=st.integers(0, 3))
    def beat(self, key: AgentKey, in_flight: int) -> None:
        self.time += timedelta(seconds=1)
        for replica in self.running:
            if (entry := replica.registry.get(key)) is not None:
                load = replace(entry.agent.load, in_flight=in_flight)
                replica.beat(replace(entry.agent, load=load, beat_time=self.time))

    @rule(where=st.integers(0, 1))
    def feed(self, where: int) -> None:
        self.at(where).feed()

    @rule(where=st.integers(0, 1))
    def tell(self, where: int) -> None:
        self.at(where).watchers.tell()

    @rule(where=st.integers(0, 1))
    def mark(self, where: int) -> None:
        self.at(where).watchers.mark()

    @precondition(lambda self: len(self.clients) < 4)
    @rule(watched=WATCHED, where=st.integers(0, 1))
    def watch(self, watched: Watched, where: int) -> None:
        client = Client(watched, self.at(where), self.loop)
        client.connect(self.at(where))
        self.clients.append(client)

    @precondition(lambda self: self.clients)
    @rule(number=CLIENTS, messages=st.integers(1, 4))
    def read(self, number: int, messages: int) -> None:
        client = self.clients[number % len(self.clients)]
        for _ in range(messages):
            client.read()

    @precondition(lambda self: self.clients)
    @rule(number=CLIENTS, where=st.integers(0, 1))
    def reconnect(self, number: int, where: int) -> None:
        client, replica = self.clients[number % len(self.clients)], self.at(where)
        client.leave()
        replica.feed()
        client.connect(replica)

    @rule(where=st.integers(0, 1))
    def restart(self, where: int) -> None:
        left = self.at(where)
        came = self.running[where % self.replicas] = Replica(self.store, alone=left.alone)
        for client in self.clients:
            if client.replica is left:
                client.leave()
                client.connect(came)

    @rule(number=st.integers(1, 3))
    def forget_removals(self, number: int) -> None:
        seen = min(replica.seen for replica in self.running) if self.replicas > 1 else None
        for key, revision in sorted(self.store.removals.items(), key=lambda item: item[1])[:number]:
            if seen is None or revision <= seen:
                del self.store.removals[key]

    @invariant()
    def who_reads_all_knows_all(self) -> None:
        for replica in self.running:
            replica.watchers.tell()
        for client in self.clients[1:]:  # the first one reads only when it is told to
            client.catch_up()
            self.check(client)

    def check(self, client: Client) -> None:
        offered = client.replica.offered(client.watched)
        assert client.knows.keys() == offered.keys()
        for key, item in offered.items():
            known = client.knows[key]
            assert known[3] == item[3]
            assert known[2] == item[2] or (client.moved and "suspect" not in (known[2], item[2]))

    @precondition(lambda self: self.clients)
    @rule()
    def the_slow_one_catches_up(self) -> None:
        slow = self.clients[0]
        slow.replica.watchers.tell()
        slow.catch_up()
        self.check(slow)


class ReplicasMachine(WatchMachine):
    """Two replicas over one store: each knows of the other's changes a little later."""

    replicas: ClassVar[int] = 2


TestWatchMachine = WatchMachine.TestCase
TestWatchMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestReplicasMachine = ReplicasMachine.TestCase
TestReplicasMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)

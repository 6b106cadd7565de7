"""Whatever happens in whatever order, whoever takes in what it is told knows what there is."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import ClassVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from brikk_discovery.domain.agent import AgentKey, Doubt
from brikk_discovery.runtime.topics import Watched
from support.watchers import NOW, Client, Replica, Store, agent

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
                self.store.forgotten = revision

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

"""Probes: who is asked, how often, and what becomes of the answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network
from random import Random

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from prometheus_client import CollectorRegistry

from brikk_discovery.clients.health import HealthClient
from brikk_discovery.domain.agent import Agent, AgentKey, Capability, Definition, Load, Service
from brikk_discovery.domain.health import Verdict
from brikk_discovery.runtime.metrics import Metrics
from brikk_discovery.runtime.probes import Probes
from brikk_discovery.runtime.registry import Registry
from brikk_shared.egress import Egress
from brikk_shared.testing import ManualClock
from support.running import running

NOW = datetime(2026, 1, 1, tzinfo=UTC)
INTERVAL = timedelta(seconds=5)
LOOPBACK = [IPv4Network("127.0.0.0/8")]


def agent(name: str, epoch: int = 1, endpoint: str = "", revision: int = 0) -> Agent:
    service = Service(service_id="main", capabilities=(Capability(name="text.write"),))
    return Agent(
        key=AgentKey("acme", name),
        incarnation=f"i{epoch}",
        epoch=epoch,
        revision=revision or epoch,
        definition=Definition(endpoint=endpoint or f"{name}:1", labels={}, services=(service,)),
        load=Load(),
        register_time=NOW,
        beat_time=NOW,
        expire_time=NOW + timedelta(seconds=40),
    )


class Asked:
    """Answers as a test says, when it says."""

    def __init__(self) -> None:
        self.endpoints: list[str] = []
        self.dead: set[str] = set()
        self.gate = asyncio.Event()
        self.gate.set()

    async def answers(self, endpoint: str) -> bool:
        self.endpoints.append(endpoint)
        await self.gate.wait()
        return endpoint not in self.dead


async def let_run() -> None:
    """Let everything happen that can: nothing here waits for more than a turn of the loop."""
    for _ in range(100):
        await asyncio.sleep(0)


class Parts:
    """Probes of a registry in memory, with time that stands still."""

    def __init__(self, concurrency: int = 4) -> None:
        self.clock = ManualClock()
        self.registry: Registry[str] = Registry(lambda offer: offer.agent.key.agent_id)
        self.asked = Asked()
        self.in_doubt: set[AgentKey] = set()
        self.probes = Probes(
            answers=self.asked.answers,
            in_doubt=lambda: self.in_doubt,
            registry=self.registry,
            interval=INTERVAL,
            concurrency=concurrency,
            clock=self.clock,
            random=Random(1),
            metrics=Metrics(CollectorRegistry()),
        )

    async def ask(self, *silent: AgentKey) -> list[str]:
        """Ask whose turn it is, and give those who were asked by then."""
        self.asked.endpoints.clear()
        self.probes.ask(silent)
        await let_run()
        return sorted(self.asked.endpoints)

    def verdict(self, name: str, epoch: int = 1) -> Verdict:
        return self.probes.verdict(AgentKey("acme", name), epoch)


@asynccontextmanager
async def probing(concurrency: int = 4) -> AsyncIterator[Parts]:
    parts = Parts(concurrency)
    async with running(parts.probes.run):
        yield parts


def key(name: str) -> AgentKey:
    return AgentKey("acme", name)


async def test_the_silent_are_asked_in_each_interval() -> None:
    async with probing() as parts:
        parts.registry.put(agent("a"))
        parts.asked.dead = {"a:1"}
        for _ in range(3):
            assert parts.verdict("a") is Verdict.UNKNOWN
            assert await parts.ask(key("a")) == ["a:1"]
            assert await parts.ask(key("a")) == []
            parts.clock.advance(1.1 * INTERVAL)
        assert parts.verdict("a") is Verdict.DOWN
        assert parts.verdict("a", epoch=2) is Verdict.UNKNOWN
        # It is asked on until it answers, also when it is heard again.
        assert await parts.ask() == ["a:1"]
        parts.asked.dead.clear()
        for _ in range(2):
            parts.clock.advance(1.1 * INTERVAL)
            assert await parts.ask() == ["a:1"]
        assert parts.probes.verdicts == {key("a"): Verdict.UP}
        assert await parts.ask() == []
        assert parts.probes.verdicts == {}


async def test_those_who_fail_their_callers_are_asked() -> None:
    async with probing() as parts:
        parts.registry.put(agent("a"))
        assert await parts.ask() == ["a:1"]
        parts.clock.advance(1.1 * INTERVAL)
        assert await parts.ask() == []
        parts.in_doubt = {key("a"), key("gone")}
        assert await parts.ask() == ["a:1"]


async def test_a_new_agent_is_asked_once_when_it_answers() -> None:
    async with probing(concurrency=2) as parts:
        await parts.ask()
        for name in "abc":
            parts.registry.put(agent(name))
        parts.asked.dead = {"b:1"}
        assert await parts.ask() == ["a:1", "b:1"]
        assert await parts.ask() == ["c:1"]  # not all of a herd at once
        assert await parts.ask() == []
        parts.clock.advance(1.1 * INTERVAL)
        assert await parts.ask() == ["b:1"]
        # Another process, and another place, are new again.
        parts.registry.put(agent("a", epoch=4))
        parts.registry.put(agent("c", endpoint="c:2", revision=5))
        parts.clock.advance(1.1 * INTERVAL)
        assert await parts.ask() == ["a:1", "b:1", "c:2"]


async def test_what_was_found_of_one_process_says_nothing_of_the_next() -> None:
    async with probing() as parts:
        parts.registry.put(agent("a"))
        parts.asked.dead = {"a:1"}
        for _ in range(3):
            await parts.ask(key("a"))
            parts.clock.advance(1.1 * INTERVAL)
        assert parts.verdict("a") is Verdict.DOWN
        parts.registry.put(agent("a", epoch=2))
        await parts.ask(key("a"))
        assert parts.verdict("a", epoch=2) is Verdict.UNKNOWN


async def test_no_more_are_asked_at_once_than_may_be() -> None:
    async with probing(concurrency=4) as parts:
        names = [f"a{number}" for number in range(10)]
        for name in names:
            parts.registry.put(agent(name))
        parts.asked.gate.clear()
        everyone = [key(name) for name in names]
        assert len(await parts.ask(*everyone)) == 4
        assert await parts.ask(*everyone) == []
        parts.asked.gate.set()
        await let_run()
        assert len(parts.asked.endpoints) == 6


async def test_who_begins_to_sweep_takes_over_what_was_found_and_who_is_new() -> None:
    async with probing() as parts:
        parts.registry.put(agent("a"))
        await parts.ask()
        parts.probes.recall([key("a"), key("gone")])
        assert parts.probes.verdicts == {key("a"): Verdict.DOWN}
        parts.probes.rest()
        assert parts.probes.verdicts == {}
        parts.registry.put(agent("b"))
        parts.registry.put(agent("c"))
        parts.registry.remove(key("c"), 7)
        parts.probes.recall([key("a")])
        assert await parts.ask() == ["a:1", "b:1"]
        assert parts.probes.verdicts == {key("a"): Verdict.DOWN}


async def test_those_who_serve_answer() -> None:
    client = HealthClient(Egress(LOOPBACK), timedelta(seconds=10))
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    await server.start()
    try:
        assert await client.answers(f"127.0.0.1:{port}")
        await servicer.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
        assert not await client.answers(f"127.0.0.1:{port}")
    finally:
        await server.stop(None)
    assert not await client.answers(f"127.0.0.1:{port}")


async def test_a_server_without_the_health_protocol_is_there() -> None:
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        client = HealthClient(Egress(LOOPBACK), timedelta(seconds=10))
        assert await client.answers(f"127.0.0.1:{port}")
        # Where probes may not go they find nobody, whoever is there.
        refused = HealthClient(Egress(), timedelta(seconds=10))
        assert not await refused.answers(f"127.0.0.1:{port}")
    finally:
        await server.stop(None)


async def test_a_half_open_connection_does_not_answer() -> None:
    hung_up = asyncio.Event()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()  # takes everything and says nothing
        writer.transport.abort()
        hung_up.set()

    listener = await asyncio.start_server(listen, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    async with listener:
        client = HealthClient(Egress(LOOPBACK), timedelta(milliseconds=200))
        assert not await client.answers(f"127.0.0.1:{port}")
        await hung_up.wait()

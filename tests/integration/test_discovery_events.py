"""What discovery tells the other services: each change of an agent, once, in order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import grpc
from google.protobuf.message import Message
from sqlalchemy import text

from brikk.discovery.v1.agent_pb2 import Agent
from brikk.discovery.v1.discovery_service_pb2 import SetAgentStateRequest
from brikk.event.v1 import event_service_pb2 as pb
from brikk.event.v1.event_pb2 import Event
from brikk.event.v1.event_service_pb2_grpc import (
    EventServiceServicer,
    add_EventServiceServicer_to_server,
)
from brikk_shared.database import Database
from brikk_shared.event import check_event
from brikk_shared.structs import from_struct
from brikk_shared.testing import Tokens
from support.discovery import agent, registration, serving, until

ONE = "11111111-1111-4111-8111-111111111111"
TWO = "22222222-2222-4222-8222-222222222222"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Receiver(EventServiceServicer):
    """Takes events as webhooks and monitoring do."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.marks: defaultdict[tuple[str, str, int], int] = defaultdict(int)

    async def Publish(
        self,
        request: pb.PublishRequest,
        context: grpc.aio.ServicerContext[Message, Message],
    ) -> pb.PublishResponse:
        key = (request.producer, request.generation, request.shard)
        for item in request.items:
            if item.position > self.marks[key]:
                self.marks[key] = item.position
                self.events.append(item.event)
        return pb.PublishResponse(mark=self.marks[key])


@asynccontextmanager
async def receiving() -> AsyncIterator[tuple[Receiver, str]]:
    receiver, server = Receiver(), grpc.aio.server()
    add_EventServiceServicer_to_server(receiver, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield receiver, f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


async def test_changes_are_told_once_and_in_order(database_url: str, tmp_path: Path) -> None:
    async with (
        receiving() as (webhooks, webhooks_address),
        receiving() as (monitoring, monitoring_address),
        serving(
            database_url,
            Tokens(tmp_path),
            webhooks_address=webhooks_address,
            monitoring_address=monitoring_address,
        ) as discovery,
    ):
        caller = discovery.caller()
        caller = replace(caller, metadata=(*caller.metadata, ("traceparent", TRACE)))
        await caller.register("writer", "text.write", incarnation=ONE)
        await caller.register("writer", "text.write", incarnation=ONE)  # changes nothing
        await caller.register("writer", "text.write", "text.edit", incarnation=ONE)
        held = await caller.register("writer", "text.write", incarnation=TWO)
        await caller.beat("writer", held.epoch)
        for state in (Agent.STATE_DRAINING, Agent.STATE_MAINTENANCE, Agent.STATE_READY):
            for _ in range(2):  # the second changes nothing
                request = SetAgentStateRequest(name="agents/writer", state=state)
                await caller.stub.SetAgentState(request, metadata=caller.metadata, timeout=30)
        await caller.deregister("writer", held.epoch)
        await caller.deregister("writer", held.epoch)  # is gone already

        async def told() -> bool:
            return len(webhooks.events) == len(monitoring.events) == 7

        await until(told)
        assert webhooks.events == monitoring.events
        kinds = [(event.type, from_struct(event.data)["capabilities"]) for event in webhooks.events]
        assert kinds == [
            ("brikk.agent.registered.v1", ["text.write"]),
            ("brikk.agent.registered.v1", ["text.edit", "text.write"]),
            ("brikk.agent.registered.v1", ["text.write"]),
            ("brikk.agent.draining.v1", ["text.write"]),
            ("brikk.agent.maintenance.v1", ["text.write"]),
            ("brikk.agent.resumed.v1", ["text.write"]),
            ("brikk.agent.deregistered.v1", ["text.write"]),
        ]
        sequences = [event.sequence for event in webhooks.events]
        assert sequences == sorted(set(sequences))
        for event in webhooks.events:
            assert check_event(event) is None
            assert (event.source, event.subject) == ("brikk.discovery", "agents/writer")
            assert (event.organization, event.traceparent) == ("acme", TRACE)
            assert from_struct(event.data)["agent"] == "agents/writer"


async def test_an_expired_agent_is_told_of(database_url: str, tmp_path: Path) -> None:
    async with (
        receiving() as (receiver, address),
        serving(
            database_url,
            Tokens(tmp_path),
            monitoring_address=address,
            heartbeat_interval="100ms",
            suspect_after="250ms",
            expire_after="400ms",
            checkpoint_interval="50ms",
            sweep_interval="50ms",
        ) as discovery,
    ):
        await discovery.caller().register("writer", "text.write")

        async def told() -> bool:
            return len(receiver.events) == 2

        await until(told)
        registered, expired = receiver.events
        assert expired.type == "brikk.agent.expired.v1"
        assert expired.data == registered.data
        assert expired.sequence > registered.sequence


async def test_an_agent_with_more_capabilities_than_an_event_holds(
    database_url: str, tmp_path: Path
) -> None:
    async with (
        receiving() as (receiver, address),
        serving(database_url, Tokens(tmp_path), webhooks_address=address) as discovery,
    ):
        names = [f"c{number:03}.{'x' * 123}" for number in range(100)]
        message = agent(*names)
        for service in range(49):
            extra = message.services.add(service_id=f"extra-{service}")
            for name in names:
                extra.capabilities.add(capability=f"s{service:02}{name[1:]}"[:128])
        await discovery.caller().send(registration("able", message))

        async def told() -> bool:
            return bool(receiver.events)

        await until(told)
        assert check_event(receiver.events[0]) is None


async def test_without_destinations_nothing_is_kept(database_url: str, tmp_path: Path) -> None:
    async with serving(database_url, Tokens(tmp_path)) as discovery:
        await discovery.caller().register("writer")
    async with (
        Database(database_url, migrations="brikk_discovery.store.migrations") as database,
        database.reading() as connection,
    ):
        assert (await connection.execute(text("SELECT count(*) FROM outbox"))).scalar_one() == 0

"""Heartbeats on streams: each is answered as in a call, and the streams end when they must."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest

from brikk.discovery.v1 import agent_pb2
from brikk.discovery.v1 import discovery_service_pb2 as pb
from brikk_agent import Connection
from brikk_agent.registration import Load, Registration
from brikk_shared.errors import Reason
from brikk_shared.status import from_status
from brikk_shared.testing import ManualClock, Tokens, bearer
from support.discovery import SCOPES, Caller, agent, registration, serving, until
from support.discovery_process import DiscoveryProcess, started
from support.refusals import refused

AGENTS = 20
STREAM = "/brikk.discovery.v1.DiscoveryService/StreamHeartbeats"
OFTEN: dict[str, str] = {
    "heartbeat_interval": "500ms",
    "suspect_after": "30s",
    "expire_after": "60s",
    "checkpoint_interval": "100ms",
}


@pytest.fixture
def tokens(tmp_path: Path) -> Tokens:
    return Tokens(tmp_path)


@pytest.fixture
def file(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/brikk.db"


class Stream:
    """A stream of one caller."""

    def __init__(self, caller: Caller) -> None:
        self.call = caller.stub.StreamHeartbeats(metadata=caller.metadata)

    async def beats(self, *beats: pb.Beat) -> pb.HeartbeatResponse:
        await self.call.write(pb.HeartbeatRequest(beats=beats))
        return await self.read()

    async def read(self) -> pb.HeartbeatResponse:
        answer = await self.call.read()
        assert isinstance(answer, pb.HeartbeatResponse)
        return answer

    async def ended(self) -> Any:
        """The error that it ends with."""
        return await refused(self.call.read())


def beat(agent_id: str, epoch: int) -> pb.Beat:
    return pb.Beat(agent=f"agents/{agent_id}", epoch=epoch)


async def test_each_beat_is_judged_as_in_a_call(database_url: str, tokens: Tokens) -> None:
    async with serving(database_url, tokens) as discovery:
        caller, stranger = discovery.caller(), discovery.caller("globex")
        epochs = {name: (await caller.register(name)).epoch for name in ("one", "two")}
        stream = Stream(caller)
        answer = await stream.beats(
            beat("one", epochs["one"]), beat("nobody", 1), beat("two", epochs["two"] - 1)
        )
        gone, superseded = (from_status(each.status) for each in answer.results[1:])
        assert answer.results[0].status.code == 0
        assert (gone.code, gone.reason) == ("NOT_FOUND", Reason.REREGISTER)
        assert (superseded.code, superseded.reason) == (
            "FAILED_PRECONDITION",
            Reason.LEASE_SUPERSEDED,
        )
        called = await caller.beats(beat("one", epochs["one"]))
        assert answer.heartbeat_interval == called.heartbeat_interval
        assert answer.lease_duration == called.lease_duration
        # It goes on all the same, each request in its turn.
        for name in ("one", "two", "one"):
            await stream.call.write(pb.HeartbeatRequest(beats=[beat(name, epochs[name])]))
        names = [(await stream.read()).results[0].agent for _ in range(3)]
        assert names == ["agents/one", "agents/two", "agents/one"]
        theirs = (await Stream(stranger).beats(beat("one", epochs["one"]))).results[0]
        assert from_status(theirs.status).code == "NOT_FOUND"
        # Who says the same again is told what holds by now.
        same = beat("one", epochs["one"])
        assert (await stream.beats(same)).results[0].state == agent_pb2.Agent.STATE_READY
        drain = agent_pb2.Agent.STATE_DRAINING
        await caller.stub.SetAgentState(
            pb.SetAgentStateRequest(name="agents/one", state=drain), metadata=caller.metadata
        )
        assert (await stream.beats(same)).results[0].state == drain
        await caller.deregister("one", epochs["one"])
        assert from_status((await stream.beats(same)).results[0].status).code == "NOT_FOUND"
        await stream.call.done_writing()
        assert await stream.call.code() is grpc.StatusCode.OK


async def test_who_may_not_beat_is_told_before_any_beat(file: str, tokens: Tokens) -> None:
    async with serving(file, tokens) as discovery:
        nobody = Caller(stub=discovery.stub, metadata=())
        assert (await Stream(nobody).ended()).reason is Reason.TOKEN_MISSING
        reader = discovery.caller("acme", "agent.read")
        assert (await Stream(reader).ended()).reason is Reason.SCOPE_MISSING


async def test_what_a_call_is_refused_for_ends_the_stream(file: str, tokens: Tokens) -> None:
    async with serving(file, tokens, rate_limit=0.001, rate_burst=6) as discovery:
        caller = discovery.caller()
        wrong = Stream(caller)
        await wrong.call.write(pb.HeartbeatRequest(beats=[beat("one", 0)]))
        error = await wrong.ended()
        assert error.reason is Reason.INVALID_FIELD
        assert [each.field for each in error.violations] == ["beats[0].epoch"]
        raw: Any = discovery.channel.stream_stream(STREAM)
        junk = raw(metadata=caller.metadata)
        await junk.write(b"\x0a\x02\xff\xfe")
        assert (await refused(junk.read())).reason is Reason.UNDECODABLE_REQUEST
        flood = Stream(caller)
        await flood.beats(beat("one", 1))
        await flood.call.write(pb.HeartbeatRequest(beats=[beat("one", 1)]))
        error = await flood.ended()
        assert (error.code, error.reason) == ("RESOURCE_EXHAUSTED", Reason.RATE_LIMITED)
        metrics = await discovery.metrics()
        labels = "StreamHeartbeats brikk.discovery.v1.DiscoveryService bidi_stream"
        assert metrics[f"grpc_server_started_total {labels}"] == 3
        assert metrics[f"grpc_server_msg_received_total {labels}"] == 4
        assert metrics[f"grpc_server_msg_sent_total {labels}"] == 1


async def test_a_stream_ends_with_the_token_that_it_was_opened_with(tmp_path: Path) -> None:
    clock = ManualClock()
    tokens = Tokens(tmp_path, clock=clock)
    async with serving(f"sqlite:///{tmp_path}/brikk.db", tokens, clock=clock) as discovery:
        caller = discovery.caller()
        epoch = (await caller.register("one")).epoch
        token = tokens.user("acme", *SCOPES, lifetime=timedelta(minutes=5))
        short = Stream(Caller(stub=discovery.stub, metadata=bearer(token)))
        lasting = Stream(caller)
        await short.beats(beat("one", epoch))
        await lasting.beats(beat("one", epoch))
        clock.advance(timedelta(minutes=5))
        error = await short.ended()
        assert (error.code, error.reason) == ("UNAUTHENTICATED", Reason.TOKEN_INVALID)
        await lasting.beats(beat("nobody", 1))


async def test_idle_streams_hold_up_nobody_and_are_limited(file: str, tokens: Tokens) -> None:
    limits: dict[str, Any] = {
        "max_concurrent_calls": 2,
        "max_agents": 5,
        "max_heartbeat_streams": 12,
    }
    async with serving(file, tokens, **limits) as discovery:
        caller, other = discovery.caller(), discovery.caller("globex")

        async def opened(caller: Caller) -> Stream:
            stream = Stream(caller)
            await stream.beats(beat("nobody", 1))
            return stream

        streams = [await opened(caller) for _ in range(10)]
        await caller.page()
        error = await Stream(caller).ended()
        assert (error.code, error.reason) == ("RESOURCE_EXHAUSTED", Reason.QUOTA_EXCEEDED)
        assert error.metadata == {"quota": "organization_heartbeat_streams", "limit": "10"}
        theirs = [await opened(other) for _ in range(2)]
        assert (await Stream(other).ended()).metadata["quota"] == "heartbeat_streams"
        assert (await discovery.metrics())["brikk_discovery_heartbeat_streams"] == 12
        for stream in (*streams, *theirs):
            stream.call.cancel()

        async def gone() -> bool:
            return (await discovery.metrics())["brikk_discovery_heartbeat_streams"] == 0

        await until(gone)
        await opened(caller)


@asynccontextmanager
async def beating(discovery: DiscoveryProcess, tokens: Tokens) -> AsyncIterator[None]:
    """Agents of the SDK, each with a stream of its own since each has a token of its own."""
    address = discovery.service.address
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(
                registered(
                    f"agent-{number}",
                    Connection(
                        addresses={"discovery": address},
                        token=tokens.user("acme", "agent", subject=f"agents/agent-{number}"),
                    ),
                ).run()
            )
            for number in range(AGENTS)
        ]
        try:
            yield
        finally:
            for each in tasks:
                each.cancel()


def registered(agent_id: str, connection: Connection) -> Registration:
    request = registration(agent_id, agent("text.write"))
    request.agent.name = f"agents/{agent_id}"
    return Registration(
        request, connect=lambda: connection, load=lambda: Load(in_flight=0, ready=True)
    )


async def all_beat(discovery: DiscoveryProcess) -> None:
    """Wait until every agent has beaten after now."""
    now = datetime.now(UTC)

    async def beaten() -> bool:
        agents = (await discovery.caller.page(size=500)).agents
        times = [each.heartbeat_time.ToDatetime(tzinfo=UTC) for each in agents]
        return len(times) == AGENTS and min(times) > now

    await until(beaten)


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
async def test_agents_beat_on_at_a_registry_that_comes_back(
    file: str, tokens: Tokens, end: signal.Signals, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with started(file, tokens, **OFTEN) as discovery, beating(discovery, tokens):
        await all_beat(discovery)
        discovery.process.send_signal(end)
        # A drain is given ten seconds for calls: it must not wait for agents to go.
        async with asyncio.timeout(30):
            code = await discovery.process.wait()
        assert code == (0 if end is signal.SIGTERM else -end)
        assert not [line for line in discovery.service.log if "Traceback" in line]
        again = started(file, tokens, **OFTEN, listen=discovery.service.address)
        async with again as discovery:
            await all_beat(discovery)
    assert sum("is registered at" in message for message in caplog.messages) == AGENTS


async def test_a_registry_that_stands_still_is_beaten_again(
    file: str, tokens: Tokens, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with started(file, tokens, **OFTEN) as discovery, beating(discovery, tokens):
        await all_beat(discovery)
        discovery.process.send_signal(signal.SIGSTOP)

        async def noticed() -> bool:
            return "DEADLINE_EXCEEDED" in caplog.text

        await until(noticed)
        discovery.process.send_signal(signal.SIGCONT)
        await all_beat(discovery)
    assert sum("is registered at" in message for message in caplog.messages) == AGENTS

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest

from brikk.discovery.v1 import agent_pb2
from brikk.discovery.v1.discovery_service_pb2_grpc import DiscoveryServiceStub
from brikk_agent import Agent, CannotStart, Connection, Retryable
from brikk_agent.structs import from_struct
from brikk_discovery.app import build
from brikk_discovery.settings import DiscoverySettings
from brikk_shared.application import running
from brikk_shared.clock import SystemClock
from brikk_shared.testing import Tokens, bearer
from brikk_workflow.clients.agents import AgentCaller
from brikk_workflow.clients.work import Answered, Outcome, Refused
from support.agents import CallKeys, execute
from support.calling import outcome_of, work
from support.discovery import SCOPES, Caller, until
from support.loopback import LOOPBACK, egress


@pytest.fixture
def tokens(tmp_path: Path) -> Tokens:
    return Tokens(tmp_path)


@asynccontextmanager
async def discovery(
    database: Path, tokens: Tokens, listen: str = "127.0.0.1:0"
) -> AsyncIterator[str]:
    """The real registry, with intervals short enough to wait for; gives its address."""
    settings = DiscoverySettings.model_validate(
        {
            "listen": listen,
            "http_listen": "127.0.0.1:0",
            "database_url": f"sqlite:///{database}",
            "issuers": tokens.issuers,
            "service_key": tokens.service_key,
            "egress_allowed": LOOPBACK,
            "heartbeat_interval": "0.1s",
            "checkpoint_interval": "0.1s",
            "drain_delay": "0s",
            "drain_grace": "2s",
        }
    )
    async with running(settings, build) as service:
        yield service.address


@asynccontextmanager
async def asking(address: str, tokens: Tokens) -> AsyncIterator[Caller]:
    async with grpc.aio.insecure_channel(address) as channel:
        yield Caller(
            stub=DiscoveryServiceStub(channel), metadata=bearer(tokens.user("acme", *SCOPES))
        )


def agent_of(address: str, tokens: Tokens, *scopes: str) -> Agent:
    token = tokens.user("acme", *scopes)
    agent = Agent(
        "writer",
        agent_id="writer-1",
        capacity=2,
        insecure=True,
        connection=Connection(addresses={"discovery": address}, token=token),
    )

    @agent.capability("text.write", tags=["text"])
    def write(text: str) -> dict[str, str]:
        """Writes a text."""
        return {"text": text}

    return agent


async def test_an_agent_is_found_by_what_it_can_until_it_leaves(
    tmp_path: Path, tokens: Tokens
) -> None:
    async with (
        discovery(tmp_path / "d.db", tokens) as address,
        asking(address, tokens) as caller,
    ):
        agent = agent_of(address, tokens, "agent")
        await agent.start()
        await agent.registered()
        (candidate,) = await caller.candidates("text.write")
        assert (candidate.agent, candidate.endpoint) == (agent.name, agent.endpoint)
        assert candidate.capacity == 2
        assert await execute(candidate.endpoint, "text.write", {"text": "a"}) == {"text": "a"}
        found = await caller.get("writer-1")
        (capability,) = found.services[0].capabilities
        assert capability.description == "Writes a text."
        assert from_struct(capability.input_schema)["required"] == ["text"]
        await agent.stop()
        assert await caller.candidates("text.write") == []


async def test_its_load_and_its_draining_are_seen(tmp_path: Path, tokens: Tokens) -> None:
    release = threading.Event()
    async with (
        discovery(tmp_path / "d.db", tokens) as address,
        asking(address, tokens) as caller,
    ):
        agent = agent_of(address, tokens, "agent")

        @agent.capability("text.wait")
        def wait() -> dict[str, bool]:
            return {"released": release.wait(60)}

        await agent.start()
        await agent.registered()
        calls = [asyncio.create_task(execute(agent.endpoint, "text.wait", {})) for _ in range(2)]

        async def busy() -> bool:
            return (await caller.get("writer-1")).state == agent_pb2.Agent.STATE_BUSY

        async def gone() -> bool:
            return await caller.candidates("text.write") == []

        await until(busy)
        stopping = asyncio.create_task(agent.stop())
        await until(gone)
        release.set()
        assert await asyncio.gather(*calls) == [{"released": True}] * 2
        assert await stopping


async def test_a_registry_that_lost_everything_learns_of_the_agent_again(
    tmp_path: Path, tokens: Tokens
) -> None:
    async with discovery(tmp_path / "before.db", tokens) as address:
        agent = agent_of(address, tokens, "agent")
        await agent.start()
        await agent.registered()
    async with (
        discovery(tmp_path / "after.db", tokens, listen=address),
        asking(address, tokens) as caller,
    ):

        async def found() -> bool:
            return bool(await caller.candidates("text.write"))

        await until(found)
        await agent.stop()


async def test_a_token_that_may_not_register_ends_the_agent(tmp_path: Path, tokens: Tokens) -> None:
    async with discovery(tmp_path / "d.db", tokens) as address:
        with pytest.raises(CannotStart, match="agent"):
            await agent_of(address, tokens, "workflow.read").serve()


async def test_the_workflow_service_calls_it_and_understands_its_failures(tmp_path: Path) -> None:
    keys = CallKeys(tmp_path)
    agent = Agent(
        "writer",
        connection=Connection(
            addresses={"discovery": "127.0.0.1:1"}, token="t", call_jwks=str(keys.file)
        ),
    )

    @agent.capability("text.write")
    def write(text: str, times: int = 1) -> dict[str, str]:
        if not text:
            raise Retryable("NO_INK", "The pen is being filled", metadata={"pen": "blue"})
        return {"text": text * times}

    async def call(name: str, **given: str | float) -> Outcome:
        return await outcome_of(caller, name, agent.endpoint, work("text.write", given))

    caller = AgentCaller(egress=egress(), signer=keys.signer, clock=SystemClock())
    await agent.start()
    try:
        answered = await call(agent.name, text="ab", times=2.0)
        assert isinstance(answered, Answered)
        assert answered.output == {"text": "abab"}
        refused = await call(agent.name, text="")
        assert isinstance(refused, Refused)
        assert (refused.failure.code, refused.failure.retryable) == ("ABORTED", True)
        assert refused.failure.message == "The pen is being filled"
        assert refused.failure.metadata["agent_reason"] == "NO_INK"
        assert refused.failure.metadata["pen"] == "blue"
        wrong = await call(agent.name, text="ab", times=1.5)
        assert isinstance(wrong, Refused)
        assert (wrong.failure.code, wrong.failure.retryable) == ("INVALID_ARGUMENT", False)
        assert wrong.failure.metadata["field"] == "times"
        other = await call("agents/other", text="ab")
        assert isinstance(other, Refused)
        assert (other.failure.code, other.failure.retryable) == ("UNAUTHENTICATED", False)
    finally:
        await caller.aclose()
        await agent.stop()

"""What operators order of agents holds: against the agents' own word, and beyond their leases."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from brikk.discovery.v1 import agent_pb2
from brikk.discovery.v1 import discovery_service_pb2 as pb
from brikk_shared.errors import Reason
from brikk_shared.testing import Tokens
from support.discovery import TIMEOUT, Caller, Discovery, serving, until
from support.discovery_process import started
from support.refusals import refused

ONE = "11111111-1111-4111-8111-111111111111"
READY, DRAINING = agent_pb2.Agent.STATE_READY, agent_pb2.Agent.STATE_DRAINING
MAINTENANCE = agent_pb2.Agent.STATE_MAINTENANCE
QUICK: dict[str, Any] = {
    "heartbeat_interval": "200ms",
    "suspect_after": "500ms",
    "expire_after": "1s",
    "checkpoint_interval": "100ms",
    "sweep_interval": "100ms",
}


@dataclass(frozen=True, kw_only=True)
class Operator:
    """Orders with a caller's token."""

    caller: Caller

    async def order(
        self, agent_id: str, state: agent_pb2.Agent.State.ValueType, reason: str = ""
    ) -> agent_pb2.Agent:
        request = pb.SetAgentStateRequest(name=f"agents/{agent_id}", state=state, reason=reason)
        return await self.caller.stub.SetAgentState(
            request, metadata=self.caller.metadata, timeout=TIMEOUT
        )


@pytest.fixture
async def discovery(database_url: str, tmp_path: Path) -> AsyncIterator[Discovery]:
    async with serving(database_url, Tokens(tmp_path)) as service:
        yield service


@pytest.fixture
def caller(discovery: Discovery) -> Caller:
    return discovery.caller()


@pytest.fixture
def operator(caller: Caller) -> Operator:
    return Operator(caller=caller)


async def test_an_operator_takes_an_agent_out_and_resumes_it(
    caller: Caller, operator: Operator
) -> None:
    held = await caller.register("writer")
    taken = await operator.order("writer", MAINTENANCE, "disk")
    assert (taken.state, taken.state_reason) == (MAINTENANCE, "ordered by users/tester: disk")
    assert taken.revision > held.agent.revision
    assert await caller.get("writer") == taken
    assert await caller.resolve() == []
    # A heartbeat renews the lease, and changes nothing else.
    answer = await caller.beats(pb.Beat(agent="agents/writer", epoch=held.epoch))
    assert answer.results[0].state == MAINTENANCE
    drained = await operator.order("writer", DRAINING)
    assert (drained.state, drained.state_reason) == (DRAINING, "ordered by users/tester")
    assert await caller.resolve() == []
    resumed = await operator.order("writer", READY)
    assert (resumed.state, resumed.state_reason) == (READY, "")
    assert resumed.revision > drained.revision > taken.revision
    assert await caller.resolve() == ["writer"]


async def test_an_order_that_says_nothing_new_changes_nothing(
    caller: Caller, operator: Operator
) -> None:
    held = await caller.register("writer")
    assert await operator.order("writer", READY) == held.agent
    first = await operator.order("writer", DRAINING, "disk")
    assert await operator.order("writer", DRAINING, "disk") == first


async def test_an_agent_that_drains_by_itself_goes_on_when_it_is_resumed(
    caller: Caller, operator: Operator
) -> None:
    held = await caller.register("writer")
    assert await caller.beat("writer", held.epoch, draining=True) is None
    await operator.order("writer", MAINTENANCE)
    resumed = await operator.order("writer", READY)
    assert (resumed.state, resumed.state_reason) == (DRAINING, "by its own wish")


@pytest.mark.parametrize(
    "state",
    [
        agent_pb2.Agent.STATE_UNSPECIFIED,
        agent_pb2.Agent.STATE_BUSY,
        agent_pb2.Agent.STATE_SUSPECT,
    ],
)
async def test_only_some_states_can_be_ordered(
    caller: Caller, operator: Operator, state: agent_pb2.Agent.State.ValueType
) -> None:
    await caller.register("writer")
    error = await refused(operator.order("writer", state))
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", Reason.INVALID_FIELD)
    assert [violation.field for violation in error.violations] == ["state"]
    assert (await caller.get("writer")).state == READY


async def test_who_is_not_live_takes_no_orders(caller: Caller, operator: Operator) -> None:
    error = await refused(operator.order("writer", MAINTENANCE))
    assert (error.code, error.reason) == ("NOT_FOUND", Reason.RESOURCE_NOT_FOUND)
    assert error.metadata["resource"] == "agents/writer"


async def test_only_operators_of_the_organization_may_order(
    discovery: Discovery, caller: Caller
) -> None:
    held = await caller.register("writer")
    other = Operator(caller=discovery.caller("globex"))
    error = await refused(other.order("writer", MAINTENANCE))
    assert (error.code, error.reason) == ("NOT_FOUND", Reason.RESOURCE_NOT_FOUND)
    agent = Operator(caller=discovery.caller("acme", "agent", "agent.read", "agent.report"))
    error = await refused(agent.order("writer", MAINTENANCE))
    assert (error.code, error.reason) == ("PERMISSION_DENIED", Reason.SCOPE_MISSING)
    assert await caller.get("writer") == held.agent
    # Nor are leases of another organisation known there.
    beaten = await other.caller.beat("writer", held.epoch)
    assert beaten is not None
    assert beaten.reason is Reason.REREGISTER
    await other.caller.deregister("writer", held.epoch)
    assert await caller.get("writer") == held.agent


async def test_an_order_survives_who_comes_and_goes_under_the_id(
    caller: Caller, operator: Operator
) -> None:
    await caller.register("writer")
    await operator.order("writer", MAINTENANCE, "disk")
    again = await caller.register("writer", incarnation=ONE)
    assert again.agent.state == MAINTENANCE
    await caller.deregister("writer", again.epoch)
    anew = await caller.register("writer")
    assert (anew.agent.state, anew.agent.state_reason) == (
        MAINTENANCE,
        "ordered by users/tester: disk",
    )
    assert await caller.resolve() == []
    await operator.order("writer", READY)
    assert await caller.resolve() == ["writer"]
    assert (await caller.register("writer")).agent.state == READY


async def test_an_order_survives_expiry(database_url: str, tmp_path: Path) -> None:
    async with serving(database_url, Tokens(tmp_path), **QUICK) as discovery:
        caller = discovery.caller()
        await caller.register("writer")
        await Operator(caller=caller).order("writer", DRAINING)

        async def expired() -> bool:
            return not (await caller.page()).agents

        await until(expired)
        assert (await caller.register("writer")).agent.state == DRAINING


async def test_an_order_survives_the_registry(database_url: str, tmp_path: Path) -> None:
    tokens = Tokens(tmp_path)
    async with started(database_url, tokens) as discovery:
        held = await discovery.caller.register("writer", incarnation=ONE)
        await Operator(caller=discovery.caller).order("writer", MAINTENANCE, "disk")
        await discovery.kill()
    async with started(database_url, tokens) as discovery:
        kept = await discovery.caller.get("writer")
        assert (kept.state, kept.state_reason) == (MAINTENANCE, "ordered by users/tester: disk")
        assert await discovery.caller.beat("writer", held.epoch) is None
        # What was remembered of the superseded is not forgotten either.
        await discovery.caller.register("writer")
        await discovery.kill()
    async with started(database_url, tokens) as discovery:
        error = await refused(discovery.caller.register("writer", incarnation=ONE))
        assert error.reason is Reason.LEASE_SUPERSEDED

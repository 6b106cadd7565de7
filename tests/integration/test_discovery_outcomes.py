"""What callers report shows in every answer, on every replica, until it is old or void."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from google.protobuf.duration_pb2 import Duration

from brikk.discovery.v1 import discovery_service_pb2 as pb
from brikk_shared.errors import Reason
from brikk_shared.testing import ManualClock, Tokens
from support.discovery import TIMEOUT, Caller, Discovery, serving, until
from support.refusals import refused


@pytest.fixture
async def discovery(database_url: str, tmp_path: Path) -> AsyncIterator[Discovery]:
    async with serving(database_url, Tokens(tmp_path), checkpoint_interval="50ms") as service:
        yield service


async def report(caller: Caller, *outcomes: pb.Outcome) -> pb.ReportOutcomesResponse:
    request = pb.ReportOutcomesRequest(outcomes=outcomes)
    return await caller.stub.ReportOutcomes(request, metadata=caller.metadata, timeout=TIMEOUT)


def outcome(agent_id: str, *, successes: int = 0, failures: int = 0) -> pb.Outcome:
    return pb.Outcome(
        agent=f"agents/{agent_id}",
        capability="text.write",
        successes=successes,
        failures=failures,
        latency=Duration(seconds=2),
        quality=0.5,
    )


async def observed(caller: Caller, agent_id: str) -> pb.Observation | None:
    for candidate in await caller.candidates():
        if candidate.agent == f"agents/{agent_id}" and candidate.HasField("observation"):
            return candidate.observation
    return None


async def until_observed(caller: Caller, agent_id: str, *, calls: float = 0) -> pb.Observation:
    """Wait for an observation that rests on more than so many calls."""
    seen: list[pb.Observation] = []

    async def known() -> bool:
        observation = await observed(caller, agent_id)
        if observation is not None and observation.calls > calls:
            seen.append(observation)
        return bool(seen)

    await until(known)
    return seen[0]


async def test_who_fails_comes_last_and_the_reason_says_so(discovery: Discovery) -> None:
    caller = discovery.caller()
    await caller.register("bad", capacity=9)
    await caller.register("good", capacity=2)
    assert await caller.resolve() == ["bad", "good"]
    await report(caller, outcome("bad", successes=3, failures=7), outcome("good", successes=10))
    observation = await until_observed(caller, "bad")
    assert (observation.agent, observation.capability) == ("agents/bad", "text.write")
    assert observation.calls == pytest.approx(10, rel=0.2)
    assert observation.success_rate == pytest.approx(0.3)
    assert observation.latency.ToTimedelta() / timedelta(seconds=1) == pytest.approx(2)
    assert observation.quality == pytest.approx(0.5)
    await until_observed(caller, "good")
    good, bad = await caller.candidates()
    assert (good.agent, bad.agent) == ("agents/good", "agents/bad")
    assert good.rank_reason == "ready: 2 of 2 slots free"
    assert bad.rank_reason == "ready: 9 of 9 slots free; 30% of calls succeeded lately"


async def test_reports_of_whom_nobody_knows_are_ignored(discovery: Discovery) -> None:
    caller = discovery.caller()
    await caller.register("writer")
    other = outcome("writer", failures=9)
    other.capability = "text.never"
    await report(caller, outcome("nobody", failures=9), other, outcome("writer"))
    await report(discovery.caller("globex"), outcome("writer", failures=9))
    await report(caller, outcome("writer", successes=6))
    observation = await until_observed(caller, "writer")
    assert observation.success_rate == 1


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (pb.Outcome(agent="writer", capability="a"), "outcomes[0].agent"),
        (pb.Outcome(agent="agents/w", capability="A"), "outcomes[0].capability"),
        (pb.Outcome(agent="agents/w", capability="a", failures=-1), "outcomes[0].failures"),
        (pb.Outcome(agent="agents/w", capability="a", quality=1.5), "outcomes[0].quality"),
        (pb.Outcome(agent="agents/w", capability="a", quality=float("nan")), "outcomes[0].quality"),
    ],
)
async def test_a_malformed_report_is_refused(
    sqlite_url: str, tmp_path: Path, wrong: pb.Outcome, field: str
) -> None:
    async with serving(sqlite_url, Tokens(tmp_path)) as discovery:
        error = await refused(report(discovery.caller(), wrong))
        assert error.reason is Reason.INVALID_FIELD
        assert [each.field for each in error.violations] == [field]


async def test_a_restart_remembers_and_a_new_process_begins_anew(
    database_url: str, tmp_path: Path
) -> None:
    tokens = Tokens(tmp_path)
    async with serving(database_url, tokens, checkpoint_interval="50ms") as discovery:
        caller = discovery.caller()
        await caller.register("writer")
        await report(caller, outcome("writer", successes=100))
        await until_observed(caller, "writer")
        # What is shown is stored in the same interval; what comes after that, in the next.
        await report(caller, outcome("writer", successes=100))
        await until_observed(caller, "writer", calls=150)
    async with serving(database_url, tokens, checkpoint_interval="50ms") as discovery:
        caller = discovery.caller()
        await until_observed(caller, "writer", calls=50)
        await caller.register("writer")
        assert await observed(caller, "writer") is None


async def test_replicas_share_what_each_was_told(postgres_url: str, tmp_path: Path) -> None:
    tokens = Tokens(tmp_path)
    async with (
        serving(postgres_url, tokens, checkpoint_interval="100ms") as here,
        serving(postgres_url, tokens, checkpoint_interval="100ms") as there,
    ):
        one, other = here.caller(), there.caller()
        await one.register("writer")

        async def known() -> bool:
            return await other.resolve() == ["writer"]

        await until(known)
        await asyncio.gather(
            report(one, outcome("writer", successes=40)),
            report(other, outcome("writer", failures=40)),
        )
        for caller in (one, other):
            observation = await until_observed(caller, "writer", calls=60)
            assert observation.success_rate == pytest.approx(0.5, abs=0.05)
        await other.register("writer")

        async def forgotten() -> bool:
            return await observed(one, "writer") is None

        await until(forgotten)


async def test_experience_fades_and_is_forgotten(sqlite_url: str, tmp_path: Path) -> None:
    clock = ManualClock()
    tokens = Tokens(tmp_path, clock=clock)
    lasting = {"suspect_after": "1h", "expire_after": "2h"}
    async with serving(sqlite_url, tokens, clock=clock, **lasting) as discovery:
        caller = discovery.caller()
        await caller.register("writer")
        await report(caller, outcome("writer", failures=8))

        async def after(duration: timedelta, calls: float | None) -> bool:
            clock.advance(duration)
            observation = await observed(caller, "writer")
            return (None if observation is None else round(observation.calls)) == calls

        await until(lambda: after(timedelta(milliseconds=100), 8))
        reason = (await caller.candidates())[0].rank_reason
        assert reason.endswith("; 0% of calls succeeded lately")
        await until(lambda: after(timedelta(seconds=5), 4))
        reason = (await caller.candidates())[0].rank_reason
        assert not reason.endswith("lately")
        await until(lambda: after(timedelta(seconds=30), None))

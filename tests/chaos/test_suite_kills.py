"""Three replicas killed in turn under load, with the whole suite behind them: all is told once."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import grpc
import pytest

from brikk.event.v1.event_pb2 import Event
from brikk_shared.application import running
from brikk_webhooks.app import build
from support.chaos import CHAIN, Tell, check_announcements, prove, read_stories, spread
from support.discovery import until
from support.fleet import fleet, held_by, taken_over
from support.gates import Gate
from support.monitoring import monitoring
from support.receiver import Receiver, receiving
from support.webhooks import Webhooks, settings
from support.workflows import ScriptedAgent, World, echo

AT_ONCE = 24
IN_FLIGHT = 18
"""Calls that are under way when a replica is killed, of all replicas together."""
END_S = 60
"""How long what is open when the load ends may take to end."""
TAKEOVER_S = 3 * 12
"""Three times what is promised after kill -9."""
EVENTS = 5
"""Of one execution: it started, three steps succeeded, it succeeded."""


def has_calls(count: int, agent: ScriptedAgent) -> bool:
    return agent.calls["text.two"] >= count


@pytest.mark.parametrize(
    ("kills", "every_s", "lease"),
    [
        (3, 0, "2s"),
        pytest.param(20, 15, "10s", marks=[pytest.mark.long, pytest.mark.timeout(600)]),
    ],
)
async def test_killed_in_turn(
    tmp_path: Path,
    postgres_url: str,
    redis_url: str,
    kills: int,
    every_s: int,
    lease: str,
    tell: Tell,
) -> None:
    async with AsyncExitStack() as stack:
        world = await stack.enter_async_context(World(tmp_path, postgres_url).open())
        gate = Gate()
        gate.open.set()
        agent = await stack.enter_async_context(world.agent(text__one=echo(), text__two=gate.work))
        receiver = await stack.enter_async_context(receiving())
        measured = await stack.enter_async_context(monitoring(redis_url, world.tokens))
        store = f"sqlite:///{tmp_path}/webhooks.db"
        delivery = running(settings(store, tmp_path, world.tokens), build)
        webhooks = await stack.enter_async_context(delivery)
        channel = grpc.aio.insecure_channel(webhooks.address)
        await stack.enter_async_context(channel)
        await Webhooks(channel, world.tokens).create(f"{receiver.url}/all")

        replicas = await stack.enter_async_context(
            fleet(
                world,
                replica_lease=lease,
                claim_interval="250ms",
                webhooks_address=webhooks.address,
                monitoring_address=measured.service.address,
            )
        )
        await replicas.live[0].client.create(CHAIN)
        takeovers: list[float] = []
        begin = time.monotonic()
        async with replicas.load("chain", at_once=AT_ONCE) as load:
            for number in range(kills):
                await load.more(10)
                # In the middle of calls.
                gate.open.clear()
                await agent.until(partial(has_calls, agent.calls["text.two"] + IN_FLIGHT))
                doomed, killed = replicas.live[0], time.monotonic()
                await replicas.kill(doomed)
                gate.open.set()
                coming = asyncio.create_task(replicas.add())
                await taken_over(postgres_url, await held_by(postgres_url, doomed))
                takeovers.append(time.monotonic() - killed)
                await coming
                await load.until(begin + (number + 1) * every_s)
        loaded = time.monotonic()
        assert loaded - begin < kills * every_s + END_S
        await prove(postgres_url, load.names)
        await receiver.wait("/all", EVENTS * len(load.names))
        check_announcements(await read_stories(postgres_url), delivered(receiver))

        async def all_counted() -> bool:
            counted = (await measured.summary()).executions
            assert counted.started <= len(load.names)
            return counted.started == counted.succeeded == len(load.names)

        await until(all_counted)
        again = len(agent.requests) - 3 * len(load.names)
        tell(
            f"{kills} kills in {loaded - begin:.0f} s: {len(load.names)} executions succeeded,"
            f" {again} calls were made again, takeover {spread(takeovers)};"
            f" {len(receiver.received)} events delivered and counted once each"
            f" {time.monotonic() - loaded:.0f} s later"
        )
        assert max(takeovers) <= TAKEOVER_S


def delivered(receiver: Receiver) -> list[Event]:
    """What the endpoint was told, each delivery by itself, in the order of what happened."""
    told = [json.loads(each.body) for each in receiver.on("/all")]
    events = [
        Event(type=each["type"], subject=each["subject"], sequence=int(each["sequence"]))
        for each in told
    ]
    # Deliveries to an endpoint overtake one another: the sequence is there to sort by.
    return sorted(events, key=lambda event: (event.subject, event.sequence))

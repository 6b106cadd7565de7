"""Three replicas killed in turn under load, with the whole suite behind them: all is told once."""

from __future__ import annotations

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
from support.chaos import CHAIN, check_announcements, prove, read_stories
from support.discovery import until
from support.fleet import fleet
from support.monitoring import monitoring
from support.receiver import Receiver, receiving
from support.webhooks import Webhooks, settings
from support.workflows import ScriptedAgent, World, echo

AT_ONCE = 24
EVENTS = 5
"""Of one execution: it started, three steps succeeded, it succeeded."""


def has_calls(count: int, agent: ScriptedAgent) -> bool:
    return len(agent.requests) >= count


@pytest.mark.parametrize(
    ("kills", "between", "lease"),
    [
        (3, 10, "2s"),
        pytest.param(20, 300, "10s", marks=[pytest.mark.long, pytest.mark.timeout(1800)]),
    ],
)
async def test_killed_in_turn(
    tmp_path: Path, postgres_url: str, redis_url: str, kills: int, between: int, lease: str
) -> None:
    async with AsyncExitStack() as stack:
        world = await stack.enter_async_context(World(tmp_path, postgres_url).open())
        agent = await stack.enter_async_context(world.agent(text__one=echo(), text__two=echo()))
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
                webhooks_address=webhooks.address,
                monitoring_address=measured.service.address,
            )
        )
        await replicas.live[0].client.create(CHAIN)
        begin = time.monotonic()
        async with replicas.load("chain", at_once=AT_ONCE) as load:
            for _ in range(kills):
                await load.more(between)
                # In the middle of calls.
                await agent.until(partial(has_calls, len(agent.requests) + AT_ONCE))
                await replicas.kill(replicas.live[0])
                await replicas.add()
            await load.more(between)
        seconds = time.monotonic() - begin

        await prove(postgres_url, load.names)
        await receiver.wait("/all", EVENTS * len(load.names))
        check_announcements(await read_stories(postgres_url), delivered(receiver))

        async def all_counted() -> bool:
            counted = (await measured.summary()).executions
            assert counted.started <= len(load.names)
            return counted.started == counted.succeeded == len(load.names)

        await until(all_counted)
        again = len(agent.requests) - 3 * len(load.names)
        print(  # noqa: T201 - what whoever runs it wants to know
            f"\n{kills} kills in {seconds:.0f} s: {len(load.names)} executions ended once each,"
            f" {again} calls were made again, {len(receiver.received)} events delivered once each"
        )


def delivered(receiver: Receiver) -> list[Event]:
    """What the endpoint was told, each delivery by itself, in the order of what happened."""
    told = [json.loads(each.body) for each in receiver.on("/all")]
    events = [
        Event(type=each["type"], subject=each["subject"], sequence=int(each["sequence"]))
        for each in told
    ]
    # Deliveries to an endpoint overtake one another: the sequence is there to sort by.
    return sorted(events, key=lambda event: (event.subject, event.sequence))

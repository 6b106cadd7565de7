"""Workers, their broker and the service killed in turn under load: it costs time, no delivery."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Self

import pytest

from brikk_shared.testing import Tokens
from support.behind import run
from support.chaos import Tell
from support.discovery import until
from support.receiver import receiving
from support.webhook_load import Load
from support.webhook_process import Service, client_of, started
from support.webhook_workers import Surroundings, Worker, surroundings

MINUTES = 3
PER_KILL = 400


class Cast:
    """A worker, its broker and the service, each of which may be killed and comes back."""

    def __init__(self, place: Surroundings, load: Load) -> None:
        self._place = place
        self._load = load
        self._tokens = Tokens(place.folder)
        self._working = ExitStack()
        self._serving = AsyncExitStack()
        self._worker: Worker
        self._service: Service
        self._publishing: asyncio.Task[None]

    async def __aenter__(self) -> Self:
        await self._work()
        await self._serve()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._serving.aclose()
        await asyncio.to_thread(self._working.close)

    async def kill_worker(self) -> int:
        """Kill the worker with its processes; tell how many deliveries it had under way."""
        for child in self._worker.children():
            os.kill(child, signal.SIGKILL)
        await asyncio.to_thread(self._working.close)
        [(claimed,)] = await run(self._place.database_url, "SELECT count(claim) FROM delivery")
        await self._work()
        return int(claimed)

    async def kill_broker(self) -> int:
        """Kill the broker; it has nothing under way."""
        await asyncio.to_thread(self._place.broker.kill)
        await asyncio.to_thread(self._place.broker.start)
        return 0

    async def kill_service(self) -> int:
        """Kill the service, which delivers nothing itself."""
        await self._service.kill()
        await self._publishing
        await self._serving.aclose()
        await self._serve()
        return 0

    async def finish(self) -> None:
        """Publish no more, and wait for what was published."""
        self._load.enough = True
        await self._publishing

        async def all_ended() -> bool:
            return not await run(self._place.database_url, "SELECT 1 FROM delivery WHERE state = 1")

        await until(all_ended)

    async def _work(self) -> None:
        entering = self._working.enter_context
        self._worker = await asyncio.to_thread(entering, self._place.worker())

    async def _serve(self) -> None:
        place, tokens = self._place, self._tokens
        self._service = await self._serving.enter_async_context(
            started(place.database_url, place.folder, tokens, **place.settings())
        )
        client = await self._serving.enter_async_context(client_of(self._service, tokens))
        if not await client.webhooks():
            await client.create(self._load.url)
        self._publishing = asyncio.create_task(self._load.publish(client))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Surroundings]:
    times = {"request_timeout": timedelta(seconds=3), "claim_lease": timedelta(seconds=10)}
    with surroundings(tmp_path, **times) as place:
        yield place


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_killed_in_turn_under_load(place: Surroundings, tell: Tell) -> None:
    end = time.monotonic() + 60 * MINUTES
    kills = in_flight = 0
    async with receiving() as receiver:
        load = Load(receiver)
        async with Cast(place, load) as cast:
            for kill in itertools.cycle((cast.kill_worker, cast.kill_broker, cast.kill_service)):
                await load.wait(len(load.arrived) + PER_KILL)
                in_flight += await kill()
                kills += 1
                if time.monotonic() > end:
                    break
            await cast.finish()
        again = load.arrived.total() - len(load.arrived)
    assert len(load.arrived) == load.published
    assert again <= in_flight
    counts = await run(
        place.database_url,
        "SELECT (SELECT count(*) FROM delivery WHERE state = 2), (SELECT count(*) FROM attempt)",
    )
    assert counts == [(load.published, load.published)]
    tell(
        f"{kills} kills of workers, broker and service in turn: {load.published} deliveries,"
        f" {again} of them twice, with {in_flight} under way at the kills of workers"
    )

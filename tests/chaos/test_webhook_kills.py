"""The webhooks process killed again and again under load: all is delivered, hardly any twice."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

from brikk_shared.testing import Tokens
from support.behind import run
from support.chaos import Tell
from support.discovery import until
from support.receiver import receiving
from support.webhook_load import Load
from support.webhook_process import Service, client_of, started

GROWTH = 48 * 2**20
"""What the memory of a process may gain, whatever it delivers."""


@pytest.mark.parametrize(
    ("minutes", "per_life", "kept"),
    [
        (0, 150, timedelta(days=90)),
        pytest.param(10, 2_500, timedelta(0), marks=[pytest.mark.long, pytest.mark.timeout(1800)]),
    ],
)
async def test_killed_under_load(
    tmp_path: Path, postgres_url: str, minutes: int, per_life: int, kept: timedelta, tell: Tell
) -> None:
    tokens = Tokens(tmp_path)
    kills = in_flight = most_rows = 0
    end = time.monotonic() + 60 * minutes
    async with receiving() as receiver:
        load = Load(receiver)
        while kills < 2 or time.monotonic() < end:
            async with (
                started(postgres_url, tmp_path, tokens, delivery_retention=kept) as service,
                client_of(service, tokens) as client,
            ):
                if kills == 0:
                    await client.create(load.url)
                publishing = asyncio.create_task(load.publish(client))
                await load.wait(len(load.arrived) + per_life)
                await service.kill()
                await publishing
            kills += 1
            [(rows, claimed)] = await run(
                postgres_url, "SELECT count(*), count(claim) FROM delivery"
            )
            most_rows = max(most_rows, rows)
            in_flight += claimed
            # What time does to the leases of the dead.
            await run(postgres_url, "UPDATE delivery SET due_at = 0 WHERE claim IS NOT NULL")
        async with (
            started(postgres_url, tmp_path, tokens, delivery_retention=kept) as service,
            client_of(service, tokens) as client,
        ):
            publishing = asyncio.create_task(load.publish(client))
            await load.wait(len(load.arrived) + per_life)
            before = _memory(service)
            await load.wait(len(load.arrived) + 4 * per_life)
            growth = _memory(service) - before
            load.enough = True
            await publishing

            async def all_ended() -> bool:
                return not await run(postgres_url, "SELECT 1 FROM delivery WHERE state = 1")

            await until(all_ended)
        if kept:
            [counts] = await run(
                postgres_url,
                "SELECT (SELECT count(*) FROM event), (SELECT count(*) FROM attempt),"
                " (SELECT count(*) FROM delivery WHERE state = 2)",
            )
            assert set(counts) == {load.published}
        else:
            assert most_rows < 4 * per_life < load.published / 10
        async with started(postgres_url, tmp_path, tokens, delivery_retention=timedelta(0)):

            async def all_gone() -> bool:
                return not await run(
                    postgres_url,
                    "SELECT uid FROM event UNION SELECT id FROM delivery"
                    " UNION SELECT delivery_id FROM attempt UNION SELECT subject FROM outbox",
                )

            await until(all_gone)
    assert growth < GROWTH
    assert len(load.arrived) == load.published
    again = load.arrived.total() - len(load.arrived)
    assert again <= in_flight
    tell(
        f"{kills} kills: {load.published} deliveries, {again} of them twice, with {in_flight}"
        f" under way at the kills; at most {most_rows} rows of them were kept at once; the last"
        f" process gained {growth / 2**20:.1f} MiB"
    )


def _memory(service: Service) -> int:
    used: int = psutil.Process(service.process.pid).memory_info().rss
    return used

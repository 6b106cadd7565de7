"""A webhook's URL comes from a stranger: only public and allowed addresses are connected to."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path

import grpc
import pytest

from brikk.webhooks.v1.webhook_pb2 import Delivery, Webhook
from brikk_shared.egress import Egress
from brikk_shared.errors import Reason
from brikk_shared.status import from_rpc_error
from brikk_webhooks.clients.http import HttpPoster
from support.canary import Canary, Rebinding, canary
from support.receiver import receiving
from support.webhooks import AT_ONCE, Webhooks, event, webhooks

METADATA_SERVICE = "http://169.254.169.254/latest/meta-data/"


@pytest.fixture
def bird() -> Iterator[Canary]:
    with canary() as listener:
        yield listener


async def attempt_errors(service: Webhooks, webhook: Webhook) -> list[str]:
    """Publish an event; how its delivery to the webhook failed, attempt by attempt."""
    await service.publish(event())
    [delivery] = await service.ended(webhook)
    assert delivery.state == Delivery.STATE_FAILED
    return [attempt.error for attempt in await service.attempts(delivery)]


async def test_a_literal_that_is_not_public_is_refused_with_its_field(
    database_url: str, tmp_path: Path, bird: Canary
) -> None:
    urls = {
        f"http://127.0.0.1:{bird.port}/": "127.0.0.1",
        f"http://[::ffff:127.0.0.1]:{bird.port}/": "::ffff:127.0.0.1",
        "https://10.0.0.1/": "10.0.0.1",
        "https://[fd00::1]/": "fd00::1",
        METADATA_SERVICE: "169.254.169.254",
    }
    async with webhooks(database_url, tmp_path, egress_allowed=[]) as (service, _):
        for url, host in urls.items():
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await service.create(url)
            error = from_rpc_error(refused.value)
            assert (error.code, error.reason) == ("INVALID_ARGUMENT", Reason.ADDRESS_REFUSED)
            assert error.metadata == {"address": host}
            assert [each.field for each in error.violations] == ["webhook.url"]
        assert not await service.webhooks()
        await service.create("https://1.1.1.1/")
        await service.create("https://[2606:4700::1111]/")
    assert not bird.touched


async def test_a_name_that_is_not_public_fails_each_attempt_and_says_so(
    database_url: str, tmp_path: Path, bird: Canary
) -> None:
    async with webhooks(database_url, tmp_path, egress_allowed=[]) as (service, _):
        webhook = await service.create(f"http://localhost:{bird.port}/", schedule=[AT_ONCE])
        assert (
            await attempt_errors(service, webhook)
            == ["localhost must not be called: its address is not public, nor among those allowed"]
            * 2
        )
    assert not bird.touched


async def test_what_was_stored_before_the_rule_changed_is_checked_when_it_is_sent(
    database_url: str, tmp_path: Path, bird: Canary
) -> None:
    async with webhooks(database_url, tmp_path) as (service, _):
        url = f"http://127.0.0.1:{bird.port}/"
        await service.create(url, webhook_id="hook", schedule=[AT_ONCE])
    async with webhooks(database_url, tmp_path, egress_allowed=[]) as (service, _):
        [error, _] = await attempt_errors(service, await service.get("webhooks/hook"))
        assert error.startswith("127.0.0.1 must not be called")
    assert not bird.touched


async def test_a_name_that_changes_its_mind_is_posted_to_where_it_was_checked(
    bird: Canary,
) -> None:
    good, evil = "127.0.0.2", "127.0.0.1"
    look_up = Rebinding(good, evil)
    egress = Egress([ip_network(good)], look_up=look_up)
    url = f"http://rebind.example:{bird.port}/"
    poster = HttpPoster(egress=egress, timeout=timedelta(seconds=20), connections=1)
    async with receiving(good, bird.port) as receiver:
        async with poster:
            assert (await poster.post(url, headers={}, body=b"one")).status == 204
            assert look_up.look_ups == 1
        async with HttpPoster(egress=egress, timeout=timedelta(seconds=20), connections=1) as later:
            answer = await later.post(url, headers={}, body=b"two")
    assert answer.error.startswith("rebind.example must not be called")
    assert not answer.final  # DNS may be mended; the schedule ends it otherwise
    assert [each.body for each in receiver.received] == [b"one"]
    assert not bird.touched

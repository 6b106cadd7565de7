"""Endpoints are asked before they are posted to, and get the headers that they want."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from sqlalchemy import select, text

from brikk.webhooks.v1.webhook_pb2 import Delivery
from brikk_shared.crypto import KeyRing
from brikk_shared.errors import Reason
from brikk_webhooks.runtime.upkeep import KeyUpkeep
from brikk_webhooks.store.sealed import count_by_ring_key
from brikk_webhooks.store.tables import HEADERS, METADATA
from support.canary import canary
from support.receiver import Receiver, answering, receiving
from support.refusals import refused
from support.webhooks import AT_ONCE, Webhooks, event, store, webhooks, write_ring

CANARY = "canary-71f2"


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as endpoint:
        yield endpoint


@pytest.fixture
async def service(database_url: str, tmp_path: Path) -> AsyncIterator[Webhooks]:
    async with webhooks(database_url, tmp_path, origin="events.example.com") as (client, _):
        yield client


async def test_headers_are_sent_sealed_and_never_shown(
    database_url: str, tmp_path: Path, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    async with webhooks(database_url, tmp_path) as (service, _):
        headers = {"X-Team": "ops", "Authorization": f"Bearer {CANARY}"}
        webhook = await service.create(receiver.url + "/hook", headers=headers)
        assert [*webhook.header_names] == ["Authorization", "X-Team"]
        assert not webhook.headers
        assert not (await service.get(webhook.name)).headers
        await service.publish(event())
        [received] = await receiver.wait("/hook")
        assert received.headers["Authorization"] == f"Bearer {CANARY}"
        assert received.headers["X-Team"] == "ops"
        received.verify(webhook.secret)
        await service.ended(webhook)

        # A change of something else keeps them; they are replaced as a whole.
        await service.update(webhook.name, description="the same headers")
        await service.publish(event())
        assert (await receiver.wait("/hook", 2))[1].headers["X-Team"] == "ops"
        replaced = await service.update(webhook.name, headers={"X-Team": CANARY})
        assert [*replaced.header_names] == ["X-Team"]
        await service.publish(event())
        third = (await receiver.wait("/hook", 3))[2]
        assert (third.headers["X-Team"], third.headers.get("Authorization")) == (CANARY, None)
        again = await service.update(webhook.name, headers={"X-Team": "desk"})
        assert again.etag != replaced.etag
        await service.update(webhook.name, headers={"X-Team": CANARY})
        for bad in ({"Host": CANARY}, {"X-Y": f"{CANARY}\n"}, {"x-y": CANARY, "X-Y": CANARY}):
            error = await refused(service.update(webhook.name, headers=bad))
            assert [each.field for each in error.violations] == ["webhook.headers"]
            assert CANARY not in error.message
    assert CANARY not in caplog.text

    first = KeyRing.parse((tmp_path / "ring.json").read_text())
    second = KeyRing(primary="k2", keys={**first.keys, "k2": os.urandom(32)})
    async with store(database_url) as database:
        await KeyUpkeep(database, write_ring(tmp_path / "ring.json", second)).tidy()
        async with database.reading() as connection:
            assert await count_by_ring_key(connection) == {"k2": 2}
            for table in METADATA.tables.values():
                for row in await connection.execute(select(table)):
                    assert CANARY not in repr(row)
    write_ring(tmp_path / "ring.json", KeyRing(primary="k2", keys={"k2": second.keys["k2"]}))
    async with webhooks(database_url, tmp_path) as (service, _):
        await service.publish_at((9, event()))
        assert (await receiver.wait("/hook", 4))[3].headers["X-Team"] == CANARY
        cleared = await service.update(webhook.name, mask=["headers"])
        assert not cleared.header_names
        await service.publish_at((10, event()))
        assert "X-Team" not in (await receiver.wait("/hook", 5))[4].headers
        await service.delete(webhook)
    async with store(database_url) as database, database.reading() as connection:
        assert await count_by_ring_key(connection) == {}


async def test_headers_that_were_damaged_end_the_delivery(
    database_url: str, tmp_path: Path, receiver: Receiver
) -> None:
    async with webhooks(database_url, tmp_path) as (service, _):
        webhook = await service.create(receiver.url + "/hook", headers={"X-Team": "ops"})
    async with store(database_url) as database, database.transaction() as edit:
        [row] = await edit.execute(select(HEADERS))
        damaged = row.sealed[:-1] + bytes([row.sealed[-1] ^ 1])
        await edit.execute(text("UPDATE webhook_headers SET sealed = :junk"), {"junk": damaged})
    async with webhooks(database_url, tmp_path) as (service, _):
        await service.publish(event())
        [delivery] = await service.ended(webhook)
        assert delivery.state == Delivery.STATE_FAILED
        [attempt] = await service.attempts(delivery)
        assert attempt.error == "the headers cannot be opened"
    assert not receiver.received


async def test_an_endpoint_that_agrees_is_posted_to(service: Webhooks, receiver: Receiver) -> None:
    allowed = {"WebHook-Allowed-Origin": "events.example.com", "WebHook-Allowed-Rate": "60"}
    url = receiver.behave("/hook", answering(200, headers=allowed))
    webhook = await service.create(url, handshake=True, max_rate=600)
    assert webhook.max_rate == 60
    [asked] = receiver.on("/hook")
    assert asked.headers["WebHook-Request-Origin"] == "events.example.com"
    assert asked.headers["WebHook-Request-Rate"] == "600"
    assert not asked.body
    await service.publish(event())
    await service.ended(webhook)
    assert len(receiver.on("/hook")) == 2

    # It is asked again when what it agreed to changes, and only then.
    await service.update(webhook.name, description="the same endpoint")
    assert len(receiver.on("/hook")) == 2
    slower = await service.update(webhook.name, max_rate=30)
    assert (slower.max_rate, len(receiver.on("/hook"))) == (30, 3)
    anybody = answering(204, headers={"WebHook-Allowed-Origin": "*"})
    moved = await service.update(webhook.name, url=receiver.behave("/moved", anybody))
    assert moved.max_rate == 30
    assert len(receiver.on("/moved")) == 1


REFUSALS: list[tuple[int, dict[str, str], str]] = [
    (204, {}, "its WebHook-Allowed-Origin is not events.example.com"),
    (403, {"WebHook-Allowed-Origin": "*"}, "it answered 403"),
    (302, {"Location": "/elsewhere"}, "it answered 302"),
]
"""What an endpoint answers, and why that will not do."""


async def test_an_endpoint_that_does_not_agree_gets_no_webhook(
    service: Webhooks, receiver: Receiver
) -> None:
    for status, headers, problem in REFUSALS:
        url = receiver.behave("/hook", answering(status, headers=headers))
        error = await refused(service.create(url, handshake=True))
        assert (error.code, error.reason) == ("FAILED_PRECONDITION", Reason.HANDSHAKE_REFUSED)
        assert error.metadata == {"problem": problem}
    assert not await service.webhooks()
    unasked = await service.create(url)
    error = await refused(service.update(unasked.name, handshake=True))
    assert error.reason is Reason.HANDSHAKE_REFUSED
    assert not (await service.get(unasked.name)).handshake
    assert not receiver.on("/elsewhere")


async def test_a_change_while_the_endpoint_is_asked_is_not_overwritten(
    service: Webhooks, receiver: Receiver
) -> None:
    async def change_meanwhile(_request: web.Request, _before: int) -> web.Response:
        await service.update(webhook.name, max_rate=7)
        return web.Response(status=204, headers={"WebHook-Allowed-Origin": "*"})

    webhook = await service.create(receiver.url + "/other", schedule=[AT_ONCE])
    url = receiver.behave("/hook", change_meanwhile)
    error = await refused(service.update(webhook.name, url=url, handshake=True))
    assert (error.code, error.reason) == ("ABORTED", Reason.ETAG_MISMATCH)
    kept = await service.get(webhook.name)
    assert (kept.url, kept.max_rate) == (webhook.url, 7)


async def test_an_endpoint_in_our_own_network_is_not_even_asked(
    database_url: str, tmp_path: Path
) -> None:
    with canary() as bird:
        async with webhooks(database_url, tmp_path, egress_allowed=[]) as (service, _):
            error = await refused(service.create(f"http://localhost:{bird.port}/", handshake=True))
        assert error.reason is Reason.HANDSHAKE_REFUSED
        assert not bird.touched

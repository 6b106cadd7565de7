"""Events reach endpoints, signed, again when they fail, and no endpoint can harm the service."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from aiohttp import web
from sqlalchemy import text

from brikk.webhooks.v1.webhook_pb2 import Delivery, Webhook
from support.databases import fresh_database
from support.discovery import until
from support.receiver import Receiver, answering, hang, receiving
from support.webhook_workers import Surroundings, surroundings
from support.webhooks import AT_ONCE, Webhooks, event, store, webhooks

SLACK = timedelta(seconds=60)
"""What an attempt and its log may take on a busy machine."""


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as endpoint:
        yield endpoint


TIMEOUT = {"request_timeout": timedelta(seconds=5)}


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Surroundings]:
    folder = tmp_path_factory.mktemp("workers")
    with surroundings(folder, **TIMEOUT) as place, place.worker():
        yield place


@pytest.fixture(params=["sqlite", "postgresql", "workers"])
def place(request: pytest.FixtureRequest) -> str | Surroundings:
    """Where the service keeps its deliveries, and makes them itself unless there are workers."""
    if request.param == "workers":
        shared: Surroundings = request.getfixturevalue("workers")
        return shared
    return str(request.param)


@pytest.fixture
async def service(place: str | Surroundings, tmp_path: Path) -> AsyncIterator[Webhooks]:
    async with AsyncExitStack() as stack:
        if isinstance(place, Surroundings):
            url, folder, told = place.database_url, place.folder, place.settings()
        else:
            folder, told = tmp_path, TIMEOUT
            database = fresh_database(place, folder, "webhooks")
            url = await stack.enter_async_context(database)
        client, _ = await stack.enter_async_context(webhooks(url, folder, **told))
        client.generation = str(uuid4())
        yield client
        for webhook in await client.webhooks():
            await client.delete(webhook)


async def test_an_event_is_delivered_signed_and_logged(
    service: Webhooks, receiver: Receiver
) -> None:
    webhook = await service.create(receiver.url + "/hook", "brikk.execution.*")
    data: dict[str, object] = {
        "name": "Zoë 🚀  two spaces",
        "large": 2.0**70,
        "escaped": '"\\\n',
        "list": [1.0, None, True, {"a": []}],
    }
    sent = event(data=data, sequence=3)
    assert not (await service.publish(sent)).refusals

    [received] = await receiver.wait("/hook")
    assert received.headers["Content-Type"] == "application/cloudevents+json; charset=utf-8"
    assert received.headers["webhook-timestamp"].isdecimal()
    body = received.verify(webhook.secret)
    assert isinstance(body, dict)
    assert body["id"] == sent.id
    assert body["data"] == data

    [delivery] = await service.ended(webhook)
    assert delivery.name == f"{webhook.name}/deliveries/{received.headers['webhook-id']}"
    assert delivery.state == Delivery.STATE_DELIVERED
    assert (delivery.event_id, delivery.event_type) == (sent.id, sent.type)
    assert (delivery.subject, delivery.attempts) == ("executions/x1", 1)
    assert delivery.response_status == 204
    assert not delivery.HasField("next_attempt_time")

    [attempt] = await service.attempts(delivery)
    assert (attempt.number, attempt.response_status, attempt.error) == (1, 204, "")
    assert attempt.latency.ToTimedelta() > timedelta()


async def test_a_given_secret_signs(service: Webhooks, receiver: Receiver) -> None:
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    webhook = await service.create(receiver.url + "/hook", secret=secret)
    assert webhook.secret == secret
    await service.publish(event())
    [received] = await receiver.wait("/hook")
    received.verify(secret)


async def test_a_failed_attempt_is_made_again_with_the_same_id_and_bytes(
    service: Webhooks, receiver: Receiver
) -> None:
    url = receiver.behave("/flaky", answering(500, 429, 200))
    webhook = await service.create(url, schedule=[AT_ONCE] * 3)
    await service.publish(event())
    [delivery] = await service.ended(webhook)
    assert (delivery.state, delivery.attempts) == (Delivery.STATE_DELIVERED, 3)
    attempts = await service.attempts(delivery)
    assert [attempt.number for attempt in attempts] == [1, 2, 3]
    assert [attempt.response_status for attempt in attempts] == [500, 429, 200]
    assert [attempt.error for attempt in attempts] == ["answered 500", "answered 429", ""]
    received = receiver.on("/flaky")
    assert len({each.body for each in received}) == 1
    assert len({each.headers["webhook-id"] for each in received}) == 1
    for each in received:
        each.verify(webhook.secret)


async def test_a_used_up_schedule_makes_a_dead_letter(
    service: Webhooks, receiver: Receiver
) -> None:
    url = receiver.behave("/broken", answering(500))
    webhook = await service.create(url, schedule=[AT_ONCE])
    await service.publish(event())
    [delivery] = await service.ended(webhook)
    assert (delivery.state, delivery.attempts) == (Delivery.STATE_FAILED, 2)
    assert len(receiver.on("/broken")) == 2


async def test_gone_ends_the_delivery(service: Webhooks, receiver: Receiver) -> None:
    webhook = await service.create(receiver.behave("/gone", answering(410)))
    await service.publish(event())
    [delivery] = await service.ended(webhook)
    assert (delivery.state, delivery.attempts) == (Delivery.STATE_FAILED, 1)
    assert delivery.response_status == 410


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_redirects_fail_and_are_not_followed(
    service: Webhooks, receiver: Receiver, status: int
) -> None:
    elsewhere = {"Location": receiver.url + "/elsewhere"}
    webhook = await service.create(receiver.behave("/moved", answering(status, headers=elsewhere)))
    await service.publish(event())
    await receiver.wait("/moved")
    [delivery] = await service.until(webhook, lambda each: each.attempts == 1)
    assert (delivery.state, delivery.response_status) == (Delivery.STATE_PENDING, status)
    assert not receiver.on("/elsewhere")


async def test_the_standard_schedule_applies_with_its_jitter(
    service: Webhooks, receiver: Receiver
) -> None:
    webhook = await service.create(receiver.behave("/broken", answering(500)))
    wait = await _wait_after_failure(service, webhook)
    assert timedelta(seconds=4) <= wait < timedelta(seconds=6) + SLACK


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("120", timedelta(seconds=120)),
        ("1000000000", timedelta(hours=24)),
        ("-5", timedelta(seconds=4)),
        ("junk", timedelta(seconds=4)),
    ],
)
async def test_retry_after_is_obeyed(
    service: Webhooks, receiver: Receiver, header: str, expected: timedelta
) -> None:
    url = receiver.behave("/later", answering(503, headers={"Retry-After": header}))
    wait = await _wait_after_failure(service, await service.create(url))
    assert expected <= wait < expected + SLACK


async def test_retry_after_may_be_a_date(service: Webhooks, receiver: Receiver) -> None:
    when = datetime.now(UTC) + timedelta(hours=2)
    header = when.strftime("%a, %d %b %Y %H:%M:%S GMT")
    url = receiver.behave("/later", answering(503, headers={"Retry-After": header}))
    wait = await _wait_after_failure(service, await service.create(url))
    assert abs(wait - timedelta(hours=2)) < SLACK


async def test_what_is_done_in_the_background_is_done(
    service: Webhooks, receiver: Receiver
) -> None:
    url = receiver.behave("/hook", answering(500, 500, 204))
    webhook = await service.create(url, schedule=[AT_ONCE])
    gone = await service.create(receiver.behave("/gone", answering(410)))
    await service.publish(event())
    [dead] = await service.ended(webhook)
    await service.ask("ReplayDeliveries", webhook.name)
    await receiver.wait("/hook", 3)
    replayed, first = await service.ended(webhook)
    assert replayed.state == Delivery.STATE_DELIVERED
    assert (first.name, first.state) == (dead.name, Delivery.STATE_FAILED)

    await service.ask("PauseWebhook", webhook.name)
    await service.publish(event())
    await service.ask("DisableWebhook", webhook.name)
    waited, *_ = await service.ended(webhook)
    assert waited.state == Delivery.STATE_CANCELLED
    assert len(receiver.on("/hook")) == 3

    async def given_up() -> bool:
        return (await service.get(gone.name)).state == Webhook.STATE_DISABLED

    await until(given_up)


async def test_bodies_of_any_size_cost_only_their_connection(
    service: Webhooks, receiver: Receiver
) -> None:
    sent = 0

    async def endless(request: web.Request, _before: int) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        part = bytes(64 * 1024)
        while True:
            await response.write(part)
            sent += len(part)

    webhook = await service.create(receiver.behave("/endless", endless))
    await service.publish(event())
    [delivery] = await service.ended(webhook)
    assert (delivery.state, delivery.response_status) == (Delivery.STATE_DELIVERED, 200)
    # What the two sockets and the reader hold, not what the endpoint would send.
    assert sent < 16 * 1024 * 1024


async def test_broken_bodies_do_not_change_the_answer(
    service: Webhooks, receiver: Receiver
) -> None:
    async def breaks(request: web.Request, _before: int) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b"half")
        assert request.transport is not None
        request.transport.abort()
        return response

    webhook = await service.create(receiver.behave("/breaks", breaks))
    await service.publish(event())
    [delivery] = await service.ended(webhook)
    assert delivery.state == Delivery.STATE_DELIVERED


async def test_a_body_that_never_ends_costs_no_more_than_the_time_of_a_request(
    database_url: str, tmp_path: Path, receiver: Receiver
) -> None:
    async def drips(request: web.Request, before: int) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b"drop")
        return await hang(request, before)

    timeout = timedelta(milliseconds=300)
    async with webhooks(database_url, tmp_path, request_timeout=timeout) as (service, _):
        webhook = await service.create(receiver.behave("/drips", drips))
        await service.publish(event())
        [delivery] = await service.ended(webhook)
        assert (delivery.state, delivery.attempts) == (Delivery.STATE_DELIVERED, 1)


async def test_a_hanging_endpoint_does_not_stop_the_others(
    database_url: str, tmp_path: Path, receiver: Receiver
) -> None:
    bounds = {"concurrency": 8, "max_in_flight": 2, "request_timeout": timedelta(seconds=60)}
    bounds["claim_lease"] = timedelta(seconds=90)
    bounds["drain_grace"] = timedelta(0)
    async with webhooks(database_url, tmp_path, **bounds) as (service, running):
        hanging = await service.create(receiver.behave("/hangs", hang))
        others = [await service.create(f"{receiver.url}/works{number}") for number in range(49)]
        for _ in range(2):
            await service.publish(*(event() for _ in range(2)))
        for number, webhook in enumerate(others):
            received = await receiver.wait(f"/works{number}", 4)
            deliveries = await service.ended(webhook)
            assert {each.state for each in deliveries} == {Delivery.STATE_DELIVERED}
            assert len({each.headers["webhook-id"] for each in received}) == len(received) == 4
        assert len(receiver.on("/hangs")) == 2
        registry = running.application.telemetry.registry
        assert registry.get_sample_value("brikk_webhooks_in_flight") == 2
        assert len(await service.deliveries(hanging)) == 4


async def test_an_endpoint_that_does_not_answer_times_out(
    database_url: str, tmp_path: Path, receiver: Receiver
) -> None:
    timeout = timedelta(milliseconds=100)
    async with webhooks(database_url, tmp_path, request_timeout=timeout) as (service, _):
        webhook = await service.create(receiver.behave("/hangs", hang), schedule=[AT_ONCE])
        await service.publish(event())
        [delivery] = await service.ended(webhook)
        errors = [attempt.error for attempt in await service.attempts(delivery)]
        assert errors == ["no answer within 0.1 s"] * 2


async def test_what_is_not_there_or_not_http_is_a_failed_attempt(service: Webhooks) -> None:
    def not_http(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")
        writer.close()

    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # and not listening
        mail = await asyncio.start_server(not_http, "127.0.0.1", 0)
        async with mail:
            port = mail.sockets[0].getsockname()[1]
            for url, error in (
                (f"http://127.0.0.1:{unused.getsockname()[1]}/", "no connection: .*refused"),
                ("http://nowhere.invalid/", "the host name was not found"),
                (f"http://127.0.0.1:{port}/", "the answer was not HTTP"),
                (f"https://127.0.0.1:{port}/", "the TLS connection failed.*"),
            ):
                webhook = await service.create(url, schedule=[AT_ONCE])
                await service.publish(event())
                [delivery] = await service.ended(webhook)
                assert (delivery.state, delivery.response_status) == (Delivery.STATE_FAILED, 0)
                for attempt in await service.attempts(delivery):
                    assert re.fullmatch(error, attempt.error), attempt.error
                await service.delete(webhook)


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        ("UPDATE signing_key SET sealed = :junk", "the signing secret cannot be opened"),
        ("UPDATE webhook SET organization = 'acme', id = 'moved'", "the signing secret .*"),
        ("UPDATE webhook SET url = 'http://'", "the URL cannot be used"),
        ("UPDATE webhook SET url = 'gopher://x/'", "the URL cannot be used"),
        ("UPDATE webhook SET url = 'http://x:99999/'", "the URL cannot be used"),
    ],
)
async def test_a_delivery_that_cannot_be_made_is_given_up_and_the_worker_lives_on(
    database_url: str, tmp_path: Path, receiver: Receiver, damage: str, error: str
) -> None:
    async with webhooks(database_url, tmp_path) as (service, _):
        await service.create(receiver.url + "/hook", webhook_id="hook")
    async with store(database_url) as database, database.transaction() as edit:
        params = {"junk": b"\x01\x02k1"} if ":junk" in damage else {}
        await edit.execute(text(damage), params)
    async with webhooks(database_url, tmp_path) as (service, _):
        await service.publish(event())
        broken = await service.get("webhooks/moved" if "moved" in damage else "webhooks/hook")
        [delivery] = await service.ended(broken)
        assert (delivery.state, delivery.attempts) == (Delivery.STATE_FAILED, 1)
        [attempt] = await service.attempts(delivery)
        assert re.fullmatch(error, attempt.error)
        assert not receiver.received

        working = await service.create(receiver.url + "/works")
        await service.publish(event())
        [delivery] = await service.ended(working)
        assert delivery.state == Delivery.STATE_DELIVERED


async def test_metrics_tell_what_happened(
    database_url: str, tmp_path: Path, receiver: Receiver
) -> None:
    async with webhooks(database_url, tmp_path) as (service, running):
        url = receiver.behave("/flaky", answering(500, 200))
        webhook = await service.create(url, schedule=[AT_ONCE])
        broken = await service.create(receiver.behave("/gone", answering(410)))
        await service.create(receiver.url + "/rare", filter="event.data.nowhere > 1.0")
        await service.publish(event())
        await service.ended(webhook)
        await service.ended(broken)
        sample = running.application.telemetry.registry.get_sample_value
        for outcome in ("delivered", "retry", "failed"):
            assert sample("brikk_webhooks_attempts_total", {"outcome": outcome}) == 1
        assert sample("brikk_webhooks_delivery_seconds_count") == 1
        assert sample("brikk_webhooks_filter_failures_total") == 1
        assert sample("brikk_webhooks_queue_depth") == 0
        assert sample("brikk_webhooks_oldest_pending_seconds") == 0


async def test_bodies_are_cloud_events(service: Webhooks, receiver: Receiver) -> None:
    await service.create(receiver.url + "/hook")
    sent = event()
    await service.publish(sent)
    [received] = await receiver.wait("/hook")
    body = json.loads(received.body)
    assert body["specversion"] == "1.0"
    assert datetime.fromisoformat(body["time"]) == sent.time.ToDatetime(tzinfo=UTC)


async def _wait_after_failure(service: Webhooks, webhook: Webhook) -> timedelta:
    """Publishes an event whose first attempt fails; gives the time from there to the next."""
    await service.publish(event())
    [delivery] = await service.until(webhook, lambda each: each.attempts == 1)
    [attempt] = await service.attempts(delivery)
    return delivery.next_attempt_time.ToDatetime() - attempt.start_time.ToDatetime()

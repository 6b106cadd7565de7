"""Deliveries carry the signatures that were asked for; keys are replaced without a gap."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path

import grpc
import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import Connection, text

from brikk.webhooks.v1.webhook_pb2 import Delivery, Webhook
from brikk_agent import SignatureRefused, WebhookVerifier
from brikk_cli.keys import rotate_ring
from brikk_shared.crypto import KeyRing
from brikk_shared.database import Database
from brikk_shared.errors import Reason, StartError
from brikk_shared.status import from_rpc_error
from brikk_shared.testing import ManualClock, Tokens
from brikk_webhooks.domain.dispatch import key_place
from brikk_webhooks.domain.signing import parse_secret
from brikk_webhooks.runtime.upkeep import KeyUpkeep
from brikk_webhooks.store.sealed import count_by_ring_key
from support.discovery import until
from support.receiver import Received, Receiver, receiving
from support.refusals import refused
from support.webhook_queue import QueueStore
from support.webhooks import Webhooks, event, settings, store, webhooks, write_ring

URL = "https://example.com/hook"
BOTH = (Webhook.SIGNATURE_SCHEME_V1, Webhook.SIGNATURE_SCHEME_V1A)
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as endpoint:
        yield endpoint


@pytest.fixture
async def service(database_url: str, tmp_path: Path) -> AsyncIterator[Webhooks]:
    async with webhooks(database_url, tmp_path) as (client, _):
        yield client


def schemes(received: Received) -> list[str]:
    return [each.partition(",")[0] for each in received.headers["webhook-signature"].split(" ")]


def verifies(received: Received, secret_or_key: str) -> bool:
    try:
        WebhookVerifier(secret_or_key).verify(received.headers, received.body)
    except SignatureRefused:
        return False
    return True


async def test_both_schemes_sign_a_delivery(service: Webhooks, receiver: Receiver) -> None:
    webhook = await service.create(receiver.url + "/hook", schemes=BOTH)
    [key, secret] = webhook.signing_keys
    assert (key.scheme, secret.scheme) == (BOTH[1], BOTH[0])
    assert not secret.public_key
    await service.publish(event())
    [received] = await receiver.wait("/hook")
    assert sorted(schemes(received)) == ["v1", "v1a"]
    received.verify(webhook.secret)

    content = b".".join(
        (
            received.headers["webhook-id"].encode(),
            received.headers["webhook-timestamp"].encode(),
            received.body,
        )
    )
    [signature] = [
        each.removeprefix("v1a,")
        for each in received.headers["webhook-signature"].split(" ")
        if each.startswith("v1a,")
    ]
    public = base64.b64decode(key.public_key.removeprefix("whpk_"))
    Ed25519PublicKey.from_public_bytes(public).verify(base64.b64decode(signature), content)
    assert verifies(received, key.public_key)
    assert verifies(received, webhook.secret)


async def test_a_webhook_may_have_no_secret_at_all(service: Webhooks, receiver: Receiver) -> None:
    webhook = await service.create(receiver.url + "/hook", schemes=BOTH[1:])
    assert not webhook.secret
    assert await service.get(webhook.name) == webhook
    await service.publish(event())
    [received] = await receiver.wait("/hook")
    assert schemes(received) == ["v1a"]
    assert verifies(received, webhook.signing_keys[0].public_key)


async def test_the_replaced_keys_sign_too(service: Webhooks, receiver: Receiver) -> None:
    old = await service.create(receiver.url + "/hook", schemes=BOTH)
    new = await service.rotate(old.name)
    assert new.secret != old.secret
    assert [key.version for key in new.signing_keys] == [4, 3, 2, 1]
    assert [key.HasField("expire_time") for key in new.signing_keys] == [False] * 2 + [True] * 2
    left = new.signing_keys[-1].expire_time.ToDatetime(UTC) - datetime.now(UTC)
    assert abs(left - timedelta(hours=24)) < timedelta(minutes=1)
    await service.publish(event())
    [received] = await receiver.wait("/hook")
    assert schemes(received) == ["v1a", "v1", "v1a", "v1"]
    for webhook in (old, new):
        received.verify(webhook.secret)
        assert verifies(received, webhook.secret)
        assert verifies(received, webhook.signing_keys[0].public_key)


async def test_without_overlap_the_replaced_keys_are_gone_at_once(
    service: Webhooks, receiver: Receiver
) -> None:
    old = await service.create(receiver.url + "/hook")
    new = await service.rotate(old.name, overlap=timedelta(0), secret=SECRET)
    assert new.secret == SECRET
    assert [key.version for key in new.signing_keys] == [2]
    await service.publish(event())
    [received] = await receiver.wait("/hook")
    assert schemes(received) == ["v1"]
    assert verifies(received, SECRET)
    assert not verifies(received, old.secret)


async def test_a_key_that_expired_neither_signs_nor_stays(
    database_url: str, tmp_path: Path
) -> None:
    async with store(database_url) as database:
        queue = QueueStore(database)
        uid = await queue.add_webhook("hook")
        await queue.publish(2)
        async with database.transaction() as edit:
            await edit.execute(
                text(
                    "INSERT INTO signing_key (webhook_uid, version, scheme, public_key, sealed,"
                    " sealed_under, request_digest, expire_time) SELECT webhook_uid, 2, scheme,"
                    " '', sealed, sealed_under, request_digest, 1 FROM signing_key"
                )
            )
        [claim] = await queue.claim(uid, most=1)
        assert [key.place.version for key in claim.target.keys] == [1]
        ring = KeyRing(primary="k1", keys={"k1": bytes(32)})
        await KeyUpkeep(database, write_ring(tmp_path / "ring.json", ring)).tidy()
        async with database.reading() as connection:
            assert await count_by_ring_key(connection) == {"k1": 1}


async def test_the_same_request_replaces_once(service: Webhooks) -> None:
    webhook = await service.create(URL)
    first = await service.rotate(webhook.name, request_id="r1")
    again = await service.rotate(webhook.name, request_id="r1")
    assert first.secret
    assert not again.secret
    first.ClearField("secret")
    assert again == first == await service.get(webhook.name)
    error = await refused(service.rotate(webhook.name, request_id="r1", overlap=timedelta(0)))
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", Reason.REQUEST_ID_REUSED)


async def test_a_rush_leaves_one_key_and_no_more_than_may_sign(service: Webhooks) -> None:
    webhook = await service.create(URL)
    rush = [service.rotate(webhook.name) for _ in range(11)]
    results = await asyncio.gather(*rush, return_exceptions=True)
    errors = [from_rpc_error(each) for each in results if isinstance(each, grpc.RpcError)]
    assert len(errors) == 2
    for error in errors:
        assert (error.code, error.reason) == ("RESOURCE_EXHAUSTED", Reason.QUOTA_EXCEEDED)
    keys = (await service.get(webhook.name)).signing_keys
    assert [key.version for key in keys] == list(range(10, 0, -1))
    assert [key.version for key in keys if not key.HasField("expire_time")] == [10]


async def test_what_cannot_be_is_refused_with_the_field(service: Webhooks) -> None:
    webhook = await service.create(URL, schemes=BOTH[1:])
    calls = (
        (service.create(URL, secret=SECRET, schemes=BOTH[1:]), "webhook.secret"),
        (service.create(URL, schemes=[0]), "webhook.signature_schemes[0]"),  # type: ignore[list-item]
        (service.rotate(webhook.name, secret=SECRET), "secret"),
        (service.rotate(webhook.name, secret="hunter2"), "secret"),
        (service.rotate(webhook.name, overlap=timedelta(days=7, seconds=1)), "overlap"),
        (service.rotate(webhook.name, overlap=timedelta(seconds=-1)), "overlap"),
        (service.rotate("hook"), "name"),
    )
    for call, field in calls:
        error = await refused(call)
        assert (error.code, error.reason) == ("INVALID_ARGUMENT", Reason.INVALID_FIELD), field
        assert [each.field for each in error.violations] == [field]
        assert "hunter2" not in error.message
    assert len((await service.get(webhook.name)).signing_keys) == 1


async def test_strangers_replace_nothing_and_who_did_is_written_down(
    database_url: str, tmp_path: Path
) -> None:
    async with webhooks(database_url, tmp_path) as (service, _):
        webhook = await service.create(URL, webhook_id="hook")
        error = await refused(service.rotate(webhook.name, organization="other"))
        assert (error.code, error.reason) == ("NOT_FOUND", Reason.RESOURCE_NOT_FOUND)
        await service.rotate(webhook.name)
        await service.delete(webhook)
    async with store(database_url) as database, database.reading() as connection:
        audited = text("SELECT organization, outcome FROM audit_entry WHERE method LIKE :method")
        method = {"method": "%/RotateWebhookSecret"}
        rows = {tuple(row) for row in await connection.execute(audited, method)}
        assert rows == {("other", "NOT_FOUND"), ("acme", "OK")}
        assert await count_by_ring_key(connection) == {}


async def test_keys_move_to_a_new_key_of_the_ring_and_the_old_one_may_go(
    database_url: str, tmp_path: Path, receiver: Receiver
) -> None:
    async with webhooks(database_url, tmp_path) as (service, _):
        webhook = await service.create(receiver.url + "/hook", schemes=BOTH)
    first = KeyRing.parse((tmp_path / "ring.json").read_text())
    second = KeyRing(primary="k2", keys={**first.keys, "k2": os.urandom(32)})
    async with store(database_url) as database:
        upkeep = KeyUpkeep(database, write_ring(tmp_path / "ahead.json", second))
        await upkeep.tidy()
        async with database.reading() as connection:
            assert await count_by_ring_key(connection) == {"k2": 2}

    with pytest.raises(StartError, match=r"lacks keys .* sealed under: 'k2' \(2\)"):
        async with webhooks(database_url, tmp_path):
            pass
    write_ring(tmp_path / "ring.json", KeyRing(primary="k2", keys={"k2": second.keys["k2"]}))
    async with webhooks(database_url, tmp_path) as (service, _):
        await service.publish(event())
        [received] = await receiver.wait("/hook")
    assert verifies(received, webhook.secret)
    assert verifies(received, webhook.signing_keys[0].public_key)


async def test_the_key_of_the_ring_is_replaced_and_removed_while_the_service_runs(
    database_url: str, tmp_path: Path, receiver: Receiver
) -> None:
    path, clock = tmp_path / "ring.json", ManualClock(datetime.now(UTC))
    async with webhooks(database_url, tmp_path, clock=clock) as (service, running):
        sample = running.application.telemetry.registry.get_sample_value

        async def all_under_the_new_one() -> bool:
            clock.advance(timedelta(minutes=1))
            found = [sample("brikk_webhooks_sealed_secrets", {"key": key}) for key in ("k1", "k2")]
            return found == [0, 5]

        before = await service.create(
            receiver.url + "/before", schemes=BOTH, headers={"Authorization": "Bearer f3b1"}
        )
        rotated = rotate_ring(path)
        after = await service.create(receiver.url + "/after", schemes=BOTH)
        await service.publish(event())
        for webhook, at in ((before, "/before"), (after, "/after")):
            assert verifies((await receiver.wait(at))[0], webhook.secret)
        await until(all_under_the_new_one)
        write_ring(path, KeyRing(primary="k2", keys={"k2": rotated.keys["k2"]}))
        await service.ended(before)
    async with webhooks(database_url, tmp_path) as (service, _):
        await service.publish_at((9, event()))
        received = (await receiver.wait("/before", 2))[1]
    assert received.headers["Authorization"] == "Bearer f3b1"
    assert verifies(received, before.secret)
    assert verifies(received, before.signing_keys[0].public_key)


async def test_a_delivery_waits_for_a_key_that_the_ring_lacks_yet(
    database_url: str, tmp_path: Path, receiver: Receiver
) -> None:
    async with webhooks(database_url, tmp_path) as (service, _):
        webhook = await service.create(receiver.url + "/hook")
    place = key_place("acme", webhook.name.removeprefix("webhooks/"), 1)
    ahead = KeyRing(primary="k2", keys={"k2": bytes(32)}).seal(b"secret", place)
    async with store(database_url) as database, database.transaction() as edit:
        await edit.execute(text("UPDATE signing_key SET sealed = :ahead"), {"ahead": ahead})
    async with webhooks(database_url, tmp_path) as (service, _):
        await service.publish(event())
        [delivery] = await service.until(webhook, lambda each: each.attempts == 1)
        assert delivery.state == Delivery.STATE_PENDING
        [attempt] = await service.attempts(delivery)
        assert attempt.error == "the signing secret cannot be opened"
    assert not receiver.received


async def test_a_key_that_cannot_be_opened_stays_and_stops_no_other(
    database_url: str, tmp_path: Path
) -> None:
    async with store(database_url) as database:
        queue = QueueStore(database)
        await queue.add_webhook("damaged")
        uid = await queue.add_webhook("whole")
        first = KeyRing(primary="k1", keys={"k1": bytes(32)})
        sealed = first.seal(b"secret", key_place("acme", "whole", 1))
        async with database.transaction() as edit:
            await edit.execute(
                text("UPDATE signing_key SET sealed = :sealed WHERE webhook_uid = :uid"),
                {"sealed": sealed, "uid": uid},
            )
        second = KeyRing(primary="k2", keys={**first.keys, "k2": bytes(range(32))})
        await KeyUpkeep(database, write_ring(tmp_path / "ring.json", second)).tidy()
        async with database.reading() as connection:
            assert await count_by_ring_key(connection) == {"k1": 1, "k2": 1}


async def test_secrets_of_before_are_keys_now(
    empty_database_url: str, tmp_path: Path, receiver: Receiver
) -> None:
    # A database as the first version left it, with one webhook.
    ring = KeyRing.parse(
        settings(empty_database_url, tmp_path, Tokens(tmp_path)).key_ring.read_text()
    )
    row = {
        "url": receiver.url + "/hook",
        "secret": ring.seal(parse_secret(SECRET) or b"", key_place("acme", "hook", 1)),
        "digest": b"",
    }

    def migrate_once(connection: Connection) -> None:
        with Operations.context(MigrationContext.configure(connection)):
            import_module("brikk_webhooks.store.migrations.versions.webhooks_0001").upgrade()
        connection.execute(text("INSERT INTO alembic_version VALUES ('webhooks_0001')"))
        connection.execute(
            text(
                "INSERT INTO webhook VALUES ('u1', 'acme', 'hook', :url, '[\"*\"]', '', '[]',"
                " :secret, 1, NULL, :digest, 1767225600000000)"
            ),
            row,
        )

    async with (
        Database(empty_database_url, migrations=None) as database,
        database.transaction() as edit,
    ):
        await edit.run_sync(migrate_once)
    async with webhooks(empty_database_url, tmp_path) as (service, _):
        webhook = await service.get("webhooks/hook")
        assert webhook.create_time == webhook.update_time
        assert [(key.version, key.scheme) for key in webhook.signing_keys] == [(1, BOTH[0])]
        await service.publish(event())
        [received] = await receiver.wait("/hook")
    assert verifies(received, SECRET)

"""`brikk webhook` against a webhooks service, as a person or a script uses it."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import TypeAlias

import pytest

from support.command import BRIKK, Result, brikk, environment_of
from support.receiver import Receiver, answering, receiving
from support.webhooks import AT_ONCE, Webhooks, event, webhooks

Shell: TypeAlias = Callable[..., Awaitable[Result]]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as endpoint:
        yield endpoint


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[tuple[Webhooks, Mapping[str, str]]]:
    """A service, and the environment of somebody of an organisation."""
    async with webhooks(f"sqlite:///{tmp_path}/webhooks.db", tmp_path) as (service, running):
        token = service.tokens.user("acme", "webhook.read", "webhook.write")
        yield (
            service,
            {
                "BRIKK_HOME": str(tmp_path / "nowhere"),
                "BRIKK_WEBHOOKS_ADDRESS": running.address,
                "BRIKK_TOKEN": token,
            },
        )


@pytest.fixture
def service(world: tuple[Webhooks, Mapping[str, str]]) -> Webhooks:
    return world[0]


@pytest.fixture
def shell(world: tuple[Webhooks, Mapping[str, str]]) -> Shell:
    async def run(*arguments: str) -> Result:
        return await asyncio.to_thread(brikk, "webhook", *arguments, environment=world[1])

    return run


async def test_a_webhook_is_described_changed_and_deleted(shell: Shell, receiver: Receiver) -> None:
    anybody = {"WebHook-Allowed-Origin": "*"}
    url = receiver.behave("/hook", answering(204, headers=anybody))
    made = await shell(
        *("create", url, "--id=orders", "--event=brikk.execution.*", "--channel=ops"),
        *('--filter=event.data.workflow == "triage"', "--payload=thin", "--header=X-Team: ops"),
        *("--max-rate=600", "--max-in-flight=4", "--order-by=subject", "--keep=1d", "--handshake"),
        *("--retry=5s", "--retry=1m", "--description=for the desk"),
    )
    lines = made.out.splitlines()
    assert lines[:2] == ["webhooks/orders: active", f"sends: brikk.execution.* to {url}"]
    assert lines[2].startswith("secret: whsec_")
    assert lines[3:12] == [
        'if: event.data.workflow == "triage"',
        "of channels: ops",
        "payload: thin",
        "with headers: X-Team",
        "at most: 600 per minute, 4 at once",
        "in order of: subject",
        "retries after: 5.0 s, 60.0 s",
        "keeps bodies: 1 day, 0:00:00",
        "asked first: yes, by OPTIONS",
    ]
    etag = (await shell("show", "orders", "--json")).json["etag"]
    options = ("--clear=filter", "--clear=headers", "--no-handshake", "--event=brikk.agent.*")
    changed = (await shell("update", "webhooks/orders", *options, f"--etag={etag}", "--json")).json
    assert (changed["filter"], changed["header_names"], changed["handshake"]) == ("", [], False)
    assert (changed["event_types"], changed["max_rate"]) == (["brikk.agent.*"], 600)
    late = await shell("update", "orders", "--max-rate=3", f"--etag={etag}")
    assert (late.code, "ETAG_MISMATCH" in late.err) == (1, True)
    wrong = await shell("update", "orders", "--header=hunter2")
    assert (wrong.code, "hunter2" in wrong.err) == (2, False)
    types = (await shell("types", "--json")).json["event_types"]
    assert "brikk.execution.failed.v1" in [each["type"] for each in types]
    assert (await shell("delete", "orders")).out == "webhooks/orders: deleted\n"


async def test_deliveries_are_tested_looked_at_and_sent_again(
    shell: Shell, service: Webhooks, receiver: Receiver
) -> None:
    url = receiver.behave("/hook", answering(204, 500, 500, 500, 204))
    webhook = await service.create(url, webhook_id="orders", schedule=[AT_ONCE])
    tried = await shell("test", "orders", "--json")
    assert (tried.code, tried.json["delivery"]["state"]) == (0, "STATE_DELIVERED")
    assert [each["response_status"] for each in tried.json["attempts"]] == [204]

    await service.publish(event())
    [dead, _] = await service.ended(webhook)
    delivery_id = dead.name.rpartition("/")[2]
    listed = (await shell("deliveries", "orders", "--state=failed")).out.splitlines()
    assert [line.split()[:2] for line in listed[1:]] == [[delivery_id, "failed"]]
    seen = (await shell("attempts", "orders", delivery_id)).out
    assert seen.count("answered 500") == 2
    resent = await shell("resend", "orders", delivery_id, "--json")
    assert resent.json["name"] == dead.name
    await service.ended(webhook)
    replayed = await shell("replay", "orders", "--state=delivered", "--event=brikk.execution.*")
    assert replayed.out.endswith(": succeeded, 1 replayed\n")
    await service.ended(webhook)
    counted = (await shell("stats", "orders")).out.splitlines()
    assert counted[0] == "webhooks/orders: 3 deliveries"
    assert counted[2] == "3 delivered, 0 pending, 0 failed, 0 cancelled"
    assert [line.split() for line in counted[4:]] == [
        ["status", "attempts"],
        ["204", "3"],
        ["500", "3"],
    ]


async def test_a_webhook_is_paused_resumed_disabled_and_enabled(
    shell: Shell, service: Webhooks
) -> None:
    await service.create("http://127.0.0.1:9/", webhook_id="orders")
    paused = await shell("pause", "orders", "--reason=moving house")
    assert paused.out.splitlines()[0] == "webhooks/orders: paused: moving house"
    assert (await shell("resume", "orders", "--json")).json["state"] == "STATE_ACTIVE"
    disabled = await shell("disable", "orders", "--reason=gone", "--json")
    assert (disabled.json["state"], disabled.json["state_reason"]) == ("STATE_DISABLED", "gone")
    tried = await shell("test", "orders")
    assert (tried.code, "WRONG_STATE" in tried.err) == (1, True)
    assert (await shell("enable", "orders")).out.splitlines()[0] == "webhooks/orders: active"


async def test_what_arrives_is_shown_and_the_webhook_of_its_own_goes(
    world: tuple[Webhooks, Mapping[str, str]], shell: Shell
) -> None:
    service, environment = world
    listening = await asyncio.create_subprocess_exec(
        *(BRIKK, "webhook", "listen", "--event=*", "--json"),
        env=environment_of(None, environment),
        stdout=asyncio.subprocess.PIPE,
    )
    assert listening.stdout is not None
    begun = json.loads(await listening.stdout.readline())
    [webhook] = await service.webhooks()
    assert (begun["listening"], begun["webhook"]) == (webhook.url, webhook.name)
    sent = event()
    await service.publish(sent)
    shown = json.loads(await listening.stdout.readline())
    assert (shown["event"]["id"], shown["event"]["type"]) == (sent.id, sent.type)

    port = webhook.url.rpartition(":")[2].rstrip("/")
    taken = await shell("listen", "--key=whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", f"--port={port}")
    assert (taken.code, f"cannot listen on port {port}" in taken.err) == (1, True)
    neither = await shell("listen")
    assert (neither.code, "--event" in neither.err) == (2, True)
    listening.send_signal(signal.SIGINT)
    await listening.wait()
    assert not await service.webhooks()

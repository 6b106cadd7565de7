"""The demonstration's receiver counts what is verified, once, and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime

import aiohttp
import pytest
from standardwebhooks import Webhook

from brikk_cli.failures import CommandError
from brikk_cli.receiver import Arrival, Receiver


def signed(secret: str, webhook_id: str, body: str) -> dict[str, str]:
    now = datetime.now(UTC)
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign(webhook_id, now, body),
    }


async def test_only_right_signatures_count_and_each_delivery_once() -> None:
    async with Receiver() as receiver, Receiver() as stranger, aiohttp.ClientSession() as session:

        async def post(secret: str, webhook_id: str) -> int:
            body = '{"id": "e1"}'
            headers = signed(secret, webhook_id, body)
            async with session.post(receiver.url, data=body, headers=headers) as answer:
                return answer.status

        assert await post(receiver.secret, "d1") == 204
        assert await post(receiver.secret, "d1") == 204
        assert await post(receiver.secret, "d2") == 204
        assert await post(stranger.secret, "d3") == 400
    assert receiver.verified == {"d1", "d2"}
    assert receiver.refused == [
        "no signature matches; are the secrets and keys those of this webhook?"
    ]


async def test_it_shows_what_arrives_and_lets_a_service_that_asks_post_to_it() -> None:
    shown: list[Arrival] = []
    refused: list[str] = []
    async with (
        Receiver(arrived=shown.append, turned_away=refused.append) as receiver,
        aiohttp.ClientSession() as session,
    ):
        asked = {"WebHook-Request-Origin": "events.example.com"}
        async with session.options(receiver.url, headers=asked) as answer:
            assert answer.headers["WebHook-Allowed-Origin"] == "events.example.com"
        headers = signed(receiver.secret, "d1", '{"id": "e1"}')
        for body in ('{"id": "e1"}', '{"id": "e2"}'):
            await session.post(receiver.url, data=body, headers=headers)
    assert shown == [Arrival(webhook_id="d1", event={"id": "e1"})]
    assert len(refused) == 1


def test_a_malformed_key_is_named_without_a_traceback() -> None:
    with pytest.raises(CommandError):
        Receiver(["hunter2"])

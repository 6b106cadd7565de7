"""The demonstration's receiver counts what is verified, once, and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime

import aiohttp
from standardwebhooks import Webhook

from brikk_cli.receiver import Receiver


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

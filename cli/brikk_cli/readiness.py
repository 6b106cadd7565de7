"""How one sees that a process of a suite is ready to work."""

from __future__ import annotations

import asyncio

import aiohttp
import grpc
import redis.asyncio as redis
from grpc_health.v1 import health_pb2, health_pb2_grpc
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff

_RETRY_MS = 50
_LONGEST_S = 60


async def serving(address: str) -> None:
    """Waits until the service at an address says SERVING, however often the connection breaks."""
    options = [
        (f"grpc.{which}_reconnect_backoff_ms", _RETRY_MS) for which in ("initial", "min", "max")
    ]
    # A proxy of the user's is not for this machine's loopback.
    options.append(("grpc.enable_http_proxy", 0))
    async with grpc.aio.insecure_channel(address, options) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        request = health_pb2.HealthCheckRequest()
        while True:
            watch = health.Watch(request, timeout=_LONGEST_S, wait_for_ready=True)
            try:
                async for answer in watch:
                    if answer.status == health_pb2.HealthCheckResponse.SERVING:
                        return
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise


async def scraped(address: str) -> None:
    """Waits until a process serves its metrics at an address, as workers do once they work."""
    async with aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.get(f"http://{address}/metrics") as answer:
                    answer.raise_for_status()
                    return
            except aiohttp.ClientError:
                await asyncio.sleep(_RETRY_MS / 1000)


async def valkey_answering(url: str) -> None:
    """Waits until the Valkey at a URL has loaded its data and answers."""
    patience = Retry(ConstantBackoff(_RETRY_MS / 1000), _LONGEST_S * 1000 // _RETRY_MS)
    async with redis.from_url(url, retry=patience) as client:
        await client.ping()

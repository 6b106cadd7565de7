from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from aiohttp import web

from brikk_agent import AgentError, Connection
from brikk_agent.tokens import CallTokens
from support.agents import CallKeys

Context = grpc.aio.ServicerContext[bytes, bytes]


def token_of(context: Context) -> bytes:
    metadata = context.invocation_metadata() or ()
    return b" ".join(str(value).encode() for key, value in metadata if key == "authorization")


async def answer_once(request: bytes, context: Context) -> bytes:
    return token_of(context)


async def answer_twice(request: bytes, context: Context) -> AsyncIterator[bytes]:
    yield token_of(context)
    yield request


@pytest.fixture
async def address() -> AsyncIterator[str]:
    methods: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        "Once": grpc.unary_unary_rpc_method_handler(answer_once),
        "Twice": grpc.unary_stream_rpc_method_handler(answer_twice),
    }
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test", methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield f"127.0.0.1:{port}"
    await server.stop(None)


async def test_calls_and_streams_carry_the_token_and_nothing_sticks(address: str) -> None:
    connection = Connection(addresses={"workflow": address}, token="t")
    mine = grpc.aio.Metadata(("x", "y"))
    async with connection.channel("workflow") as channel:
        for _ in range(2):
            once: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/test/Once")
            assert await once(b"", timeout=30, metadata=mine) == b"Bearer t"
            twice: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(
                "/test/Twice"
            )
            answers = [each async for each in twice(b"end", timeout=30, metadata=mine)]
            assert answers == [b"Bearer t", b"end"]
    assert list(mine) == [("x", "y")]


async def test_call_keys_come_from_a_url_too(tmp_path: Path) -> None:
    keys = CallKeys(tmp_path)

    async def serve_keys(request: web.Request) -> web.Response:
        return web.Response(text=json.dumps(keys.signer.jwks()))

    app = web.Application()
    app.router.add_get("/.well-known/jwks.json", serve_keys)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    token = [("authorization", f"Bearer {keys.token('agents/a')}")]
    url = f"http://127.0.0.1:{port}"
    await CallTokens(f"{url}/.well-known/jwks.json", "agents/a").check(token)
    with pytest.raises(AgentError, match="cannot read the keys"):
        await CallTokens(f"{url}/elsewhere", "agents/a").check(token)
    await runner.cleanup()
    with pytest.raises(AgentError, match="cannot read the keys"):
        await CallTokens(f"{url}/.well-known/jwks.json", "agents/a").check(token)

"""The guard on real sockets: what it refused is never connected to, over HTTP and over gRPC."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_address, ip_network

import aiohttp
import grpc
import pytest

from brikk_shared.egress import AddressRefusedError, Egress
from brikk_shared.errors import PermissionDenied, Reason
from brikk_shared.networks import IPAddress
from support.canary import Canary, Rebinding, canary
from support.receiver import receiving

GOOD, EVIL = "127.0.0.2", "127.0.0.1"
"""Two addresses of this machine; the first stands for a public one."""
ALLOWED = [ip_network(GOOD)]
NAME = "rebind.example"


@pytest.fixture
def bird() -> Iterator[Canary]:
    with canary() as listener:
        yield listener


@asynccontextmanager
async def session(guard: Egress) -> AsyncIterator[aiohttp.ClientSession]:
    connector = guard.connector(limit=4, tls=ssl.create_default_context())
    async with aiohttp.ClientSession(connector=connector) as client:
        yield client


@asynccontextmanager
async def grpc_server(host: str, port: int = 0) -> AsyncIterator[int]:
    """A server that says what it hears; gives its port."""
    server = grpc.aio.server()

    async def answer(request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        return request

    echo_method: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(answer)
    methods = {"Echo": echo_method}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Echo", methods),))
    bound = server.add_insecure_port(f"{host}:{port}")
    await server.start()
    try:
        yield bound
    finally:
        await server.stop(None)


async def echo(channel: grpc.aio.Channel) -> bytes:
    call = channel.unary_unary("/test.Echo/Echo", lambda text: text, lambda text: text)
    answer: bytes = await call(b"hello", timeout=20)
    return answer


async def refused_over_http(guard: Egress, url: str) -> str:
    async with session(guard) as client:
        with pytest.raises(aiohttp.ClientConnectorError) as refused:
            await client.get(url)
    assert isinstance(refused.value.os_error, AddressRefusedError)
    return refused.value.os_error.message


async def test_the_canary_sings(bird: Canary) -> None:
    guard = Egress([ip_network(EVIL)], look_up=Rebinding(EVIL))
    async with session(guard) as client:
        with pytest.raises(TimeoutError):
            await client.get(f"http://{NAME}:{bird.port}/", timeout=aiohttp.ClientTimeout(0.1))
    assert bird.touched
    assert not bird.touched


@pytest.mark.parametrize(
    "host",
    [EVIL, "localhost", "[::ffff:127.0.0.1]", "[::1]", "[64:ff9b::7f00:1]", "[fe80::1]", "0.0.0.0"],
)
async def test_http_never_touches_what_is_refused(bird: Canary, host: str) -> None:
    message = await refused_over_http(Egress(), f"http://{host}:{bird.port}/")
    assert "must not be called" in message
    assert not bird.touched


async def test_http_does_not_fall_for_a_name_that_changes_its_mind(bird: Canary) -> None:
    look_up = Rebinding(GOOD, EVIL)
    guard = Egress(ALLOWED, look_up=look_up)
    async with receiving(GOOD, bird.port) as receiver, session(guard) as client:
        async with client.get(f"http://{NAME}:{bird.port}/") as answer:
            assert answer.status == 204
        assert receiver.on("/")[0].headers["Host"] == f"{NAME}:{bird.port}"
        assert look_up.look_ups == 1  # so what was checked is what was dialled
        await refused_over_http(guard, f"http://{NAME}:{bird.port}/")
    assert look_up.look_ups == 2
    assert not bird.touched


async def test_http_dials_nothing_when_one_answer_is_bad(bird: Canary) -> None:
    async def both(host: str) -> Sequence[IPAddress]:
        return [ip_address(GOOD), ip_address(EVIL)]

    async with receiving(GOOD, bird.port) as receiver:
        await refused_over_http(Egress(ALLOWED, look_up=both), f"http://{NAME}:{bird.port}/")
    assert not receiver.received
    assert not bird.touched


async def test_grpc_does_not_fall_for_a_name_that_changes_its_mind(bird: Canary) -> None:
    look_up = Rebinding(GOOD, EVIL)
    guard = Egress(ALLOWED, look_up=look_up)
    async with grpc_server(GOOD, bird.port):
        async with await guard.channel(f"{NAME}:{bird.port}") as channel:
            assert [await echo(channel) for _ in range(2)] == [b"hello"] * 2
        assert look_up.look_ups == 1
        with pytest.raises(PermissionDenied) as refused:
            await guard.channel(f"{NAME}:{bird.port}")
        assert refused.value.reason == Reason.ADDRESS_REFUSED
    assert not bird.touched


async def test_a_lost_grpc_connection_comes_back_to_the_checked_address_only(bird: Canary) -> None:
    guard = Egress(ALLOWED, look_up=Rebinding(GOOD, EVIL))
    async with await guard.channel(f"{NAME}:{bird.port}") as channel:
        async with grpc_server(GOOD, bird.port):
            await echo(channel)
        with pytest.raises(grpc.aio.AioRpcError) as lost:
            await echo(channel)
        assert lost.value.code() == grpc.StatusCode.UNAVAILABLE
    assert not bird.touched


async def test_grpc_tries_the_addresses_of_both_families_in_turn() -> None:
    """What `localhost` often is: IPv6 first, where nobody may listen."""

    async def both(host: str) -> Sequence[IPAddress]:
        return [ip_address("::1"), ip_address(EVIL)]

    guard = Egress([ip_network("::1"), ip_network(EVIL)], look_up=both)
    async with (
        grpc_server(EVIL) as port,
        await guard.channel(f"{NAME}:{port}") as channel,
    ):
        assert await echo(channel) == b"hello"


async def test_grpc_names_the_host_as_it_was_given() -> None:
    authority: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    empty_settings = b"\0\0\0\4\0\0\0\0\0"

    async def http2(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(empty_settings)
        said = await reader.readuntil(b"/test.Echo/Echo")
        said += await reader.readuntil(b"user-agent")
        authority.set_result(said)
        writer.close()

    server = await asyncio.start_server(http2, GOOD, 0)
    port = server.sockets[0].getsockname()[1]
    guard = Egress(ALLOWED, look_up=Rebinding(GOOD))
    async with server, await guard.channel(f"{NAME}:{port}") as channel:
        with pytest.raises(grpc.aio.AioRpcError):
            await echo(channel)
    assert f"{NAME}:{port}".encode() in await authority

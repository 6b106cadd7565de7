"""A watch of capabilities goes on where it broke, and begins anew where it cannot."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import grpc
import pytest

from brikk.discovery.v1 import discovery_service_pb2 as pb
from brikk_agent.connection import Connection
from brikk_cli.client import Services
from brikk_cli.offers import Offers
from brikk_shared.errors import PermissionDenied, Unavailable

PART = pb.WatchCapabilitiesResponse(
    snapshot=pb.CapabilitySnapshot(candidates=[pb.Candidate(agent="agents/a", capability="x")])
)
RESYNC = pb.WatchCapabilitiesResponse(resync=pb.CapabilityResync(reason="forgotten"))


def complete(agent: str, token: str) -> pb.WatchCapabilitiesResponse:
    return pb.WatchCapabilitiesResponse(
        resume_token=token,
        snapshot=pb.CapabilitySnapshot(
            candidates=[pb.Candidate(agent=f"agents/{agent}", capability="x")], complete=True
        ),
    )


def change(agent: str, token: str) -> pb.WatchCapabilitiesResponse:
    return pb.WatchCapabilitiesResponse(
        resume_token=token,
        changes=pb.CapabilityChanges(
            upserted=[pb.Candidate(agent=f"agents/{agent}", capability="x")]
        ),
    )


class Breaking:
    """Answers each watch with some messages and breaks it; the last one is refused."""

    def __init__(self, *watches: list[pb.WatchCapabilitiesResponse]) -> None:
        self._watches = list(watches)
        self.tokens: list[str] = []

    async def watch(
        self,
        request: pb.WatchCapabilitiesRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> AsyncIterator[pb.WatchCapabilitiesResponse]:
        self.tokens.append(request.resume_token)
        if not self._watches:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, "that was all")
        for message in self._watches.pop(0):
            yield message
        await context.abort(grpc.StatusCode.UNAVAILABLE, "broken")


@asynccontextmanager
async def watching(
    servicer: Breaking, *, patience: timedelta = timedelta(seconds=20)
) -> AsyncIterator[AsyncIterator[pb.WatchCapabilitiesResponse]]:
    server = grpc.aio.server()
    handler = grpc.unary_stream_rpc_method_handler(
        servicer.watch,
        request_deserializer=pb.WatchCapabilitiesRequest.FromString,
        response_serializer=pb.WatchCapabilitiesResponse.SerializeToString,
    )
    methods = {"WatchCapabilities": handler}
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler("brikk.discovery.v1.DiscoveryService", methods)]
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    connection = Connection(addresses={"discovery": f"127.0.0.1:{port}"}, token="some")
    try:
        async with Services(connection, patience=patience) as services:
            yield services.watch_capabilities(["x"])
    finally:
        await server.stop(None)


async def told(
    watch: AsyncIterator[pb.WatchCapabilitiesResponse], offers: Offers
) -> list[str | None]:
    """What kinds of news came before the watch was refused."""
    kinds: list[str | None] = []
    with pytest.raises(PermissionDenied):
        async for news in watch:
            offers.take(news)
            kinds.append(news.WhichOneof("event"))
    return kinds


async def test_a_watch_goes_on_after_the_last_token() -> None:
    servicer = Breaking([complete("a", "one")], [change("b", "two")], [], [change("c", "three")])
    offers = Offers()
    async with watching(servicer) as watch:
        assert await told(watch, offers) == ["snapshot", "changes", "changes"]
    assert servicer.tokens == ["", "one", "two", "two", "three"]
    assert [each.agent for each in offers] == ["agents/a", "agents/b", "agents/c"]


async def test_a_snapshot_that_breaks_off_begins_anew() -> None:
    servicer = Breaking([PART], [complete("b", "one")])
    offers = Offers()
    async with watching(servicer) as watch:
        assert await told(watch, offers) == ["snapshot", "resync", "snapshot"]
    assert servicer.tokens == ["", "", "one"]
    assert [each.agent for each in offers] == ["agents/b"]


async def test_a_token_is_of_no_use_after_a_resync() -> None:
    servicer = Breaking([complete("a", "one"), RESYNC, PART], [complete("b", "two")])
    offers = Offers()
    async with watching(servicer) as watch:
        kinds = await told(watch, offers)
    assert kinds == ["snapshot", "resync", "snapshot", "resync", "snapshot"]
    assert servicer.tokens == ["", "", "two"]
    assert [each.agent for each in offers] == ["agents/b"]


async def test_without_patience_a_break_is_the_end() -> None:
    servicer = Breaking([complete("a", "one")])
    async with watching(servicer, patience=timedelta(0)) as watch:
        assert (await anext(watch)).snapshot.complete
        with pytest.raises(Unavailable):
            await anext(watch)

"""A client of watches as the contract wants one: it keeps what it was told, and no more."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import grpc

from brikk.discovery.v1 import discovery_service_pb2 as pb
from brikk_shared.errors import BrikkError
from brikk_shared.status import from_rpc_error
from support.discovery import Caller


class Told:
    """Who offers what, as the messages of one watch told it."""

    def __init__(self) -> None:
        self.candidates: dict[tuple[str, str], pb.Candidate] = {}
        self.resume_token = ""
        self.revision = 0
        self.resyncs: list[str] = []
        self.complete = False
        self.observations: list[pb.Observation] = []
        self.contracts: dict[str, pb.CapabilityContract] = {}
        self._coming: dict[tuple[str, str], pb.Candidate] = {}

    def take(self, message: pb.WatchCapabilitiesResponse) -> str:
        """Take a message in and give its kind."""
        kind = message.WhichOneof("event")
        assert kind is not None
        if kind == "snapshot":
            self._coming |= _by_key(message.snapshot.candidates)
            if message.snapshot.complete:
                self.candidates, self._coming = self._coming, {}
                self.complete = True
            else:
                assert message.resume_token == ""
        elif kind == "changes":
            self.candidates |= _by_key(message.changes.upserted)
            for gone in message.changes.removed:
                self.candidates.pop((gone.agent, gone.capability), None)
        elif kind == "observations":
            assert not message.resume_token
            self.observations += message.observations.observations
        elif kind == "contracts":
            assert not message.resume_token
            self.contracts |= {each.id: each for each in message.contracts.contracts}
        elif kind == "resync":
            self.resyncs.append(message.resync.reason)
            self.complete = False
        if message.resume_token:
            self.resume_token, self.revision = message.resume_token, message.revision
        return kind

    @property
    def agents(self) -> list[str]:
        """The ids of those who offer something, sorted."""
        return sorted({agent.removeprefix("agents/") for agent, _ in self.candidates})


def _by_key(candidates: Iterable[pb.Candidate]) -> dict[tuple[str, str], pb.Candidate]:
    for candidate in candidates:
        assert candidate.rank_reason == ""
    return {(candidate.agent, candidate.capability): candidate for candidate in candidates}


class Watch:
    """A stream under way, and what it told."""

    def __init__(self, call: Any, told: Told) -> None:
        self._call = call
        self.told = told

    async def read(self) -> str:
        """Wait for a message and give its kind."""
        message = await self._call.read()
        assert isinstance(message, pb.WatchCapabilitiesResponse), "the stream ended"
        return self.told.take(message)

    async def until(self, condition: Callable[[Told], bool]) -> Told:
        """Read until a condition holds of what was told."""
        while not condition(self.told):
            await self.read()
        return self.told

    async def whole(self) -> Told:
        """Read until a snapshot is complete."""
        return await self.until(lambda told: told.complete)

    async def refusal(self) -> BrikkError:
        """Read until the stream is ended, and give the error that it ends with."""
        try:
            while True:
                await self.read()
        except grpc.aio.AioRpcError as error:
            return from_rpc_error(error)


@asynccontextmanager
async def watching(
    caller: Caller, *capabilities: str, told: Told | None = None
) -> AsyncIterator[Watch]:
    """Watch some capabilities; with what was told before, going on from there."""
    told = told or Told()
    request = pb.WatchCapabilitiesRequest(
        capabilities=capabilities or ("text.write",), resume_token=told.resume_token
    )
    call = caller.stub.WatchCapabilities(request, metadata=caller.metadata, timeout=90)
    try:
        yield Watch(call, told)
    finally:
        call.cancel()

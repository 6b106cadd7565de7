"""Who can do what right now, as discovery said a moment ago."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count

import grpc
import structlog

from brikk.discovery.v1 import discovery_service_pb2, discovery_service_pb2_grpc
from brikk_shared.clock import Clock
from brikk_shared.errors import BrikkError
from brikk_shared.metadata import ORGANIZATION_KEY
from brikk_shared.status import from_rpc_error

log = structlog.get_logger()

Resolve = Callable[
    [str, discovery_service_pb2.ResolveCapabilityRequest],
    Awaitable[discovery_service_pb2.ResolveCapabilityResponse],
]
"""Asks discovery on behalf of an organisation."""


RESOLVE_TIMEOUT = timedelta(seconds=5)
CAPABILITIES_KEPT = 10_000
"""Answers remembered; past that the oldest is forgotten."""


def resolve_over(channel: grpc.aio.Channel) -> Resolve:
    """Returns how to ask the discovery service at the other end of a channel."""
    stub = discovery_service_pb2_grpc.DiscoveryServiceStub(channel)

    async def resolve(
        organization: str, request: discovery_service_pb2.ResolveCapabilityRequest
    ) -> discovery_service_pb2.ResolveCapabilityResponse:
        try:
            return await stub.ResolveCapability(
                request,
                timeout=RESOLVE_TIMEOUT.total_seconds(),
                metadata=((ORGANIZATION_KEY, organization),),
            )
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error

    return resolve


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A live agent: its name `agents/x` and where it listens, `host:port`."""

    agent: str
    endpoint: str


@dataclass(kw_only=True, slots=True)
class _Answer:
    candidates: Sequence[Candidate] = ()
    stale_at: float = 0.0
    turns: Iterator[int] = field(default_factory=count)


class AgentDirectory:
    """Caches discovery's answers for `ttl`, so that steps in steady state cost no call.

    While discovery is down the last answer serves on: an agent that left meanwhile costs a failed
    attempt, which is retried elsewhere.
    """

    def __init__(self, resolve: Resolve, *, ttl: timedelta, clock: Clock) -> None:
        self._resolve = resolve
        self._ttl = ttl.total_seconds()
        self._clock = clock
        self._answers: dict[tuple[str, str], _Answer] = {}
        self._asking: dict[tuple[str, str], asyncio.Task[_Answer]] = {}
        self._in_flight: Counter[str] = Counter()

    async def available(self, organization: str, capability: str) -> bool:
        """Tells whether anybody live has the capability."""
        return bool((await self._answer(organization, capability)).candidates)

    async def choose(
        self, organization: str, capability: str, *, avoid: str = ""
    ) -> Candidate | None:
        """Returns the candidate with the fewest of our calls in flight, taking turns among equals.

        The agent `avoid` is taken only when nobody else is there. None means that nobody is live.
        """
        answer = await self._answer(organization, capability)
        pool = [each for each in answer.candidates if each.agent != avoid] or answer.candidates
        if not pool:
            return None
        turn = next(answer.turns) % len(pool)
        return min((*pool[turn:], *pool[:turn]), key=lambda each: self._in_flight[each.agent])

    @contextmanager
    def calling(self, agent: str) -> Iterator[None]:
        """Counts a call as in flight while the block runs."""
        self._in_flight[agent] += 1
        try:
            yield
        finally:
            self._in_flight[agent] -= 1
            if not self._in_flight[agent]:
                del self._in_flight[agent]

    async def _answer(self, organization: str, capability: str) -> _Answer:
        key = (organization, capability)
        answer = self._answers.get(key)
        if answer is not None and self._clock.monotonic() < answer.stale_at:
            return answer
        asking = self._asking.get(key)
        if asking is None:
            asking = self._asking[key] = asyncio.create_task(self._ask(key))
            asking.add_done_callback(lambda _: self._asking.pop(key))
        return await asyncio.shield(asking)

    async def _ask(self, key: tuple[str, str]) -> _Answer:
        organization, capability = key
        request = discovery_service_pb2.ResolveCapabilityRequest(
            capability=capability, max_results=100
        )
        answer = self._answers.get(key) or _Answer()
        stale_at = self._clock.monotonic() + self._ttl
        try:
            response = await self._resolve(organization, request)
        except BrikkError as error:
            log.warning("discovery does not answer", capability=capability, reason=error.reason)
        else:
            answer.candidates = [
                Candidate(agent=each.agent, endpoint=each.endpoint) for each in response.candidates
            ]
        answer.stale_at = stale_at
        self._answers.pop(key, None)
        self._answers[key] = answer
        if len(self._answers) > CAPABILITIES_KEPT:
            del self._answers[next(iter(self._answers))]
        return answer

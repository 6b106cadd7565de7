"""Answers that were given a moment ago, kept for whoever of the organisation asks the same."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final, TypeVar, cast

from google.protobuf.message import Message
from prometheus_client import CollectorRegistry

from brikk_shared.cache import Cache, Loaded
from brikk_shared.clock import Clock

Answer = TypeVar("Answer", bound=Message)

_OVERHEAD: Final = 500
"""Bytes that keeping an answer takes beside it and its question."""


class Answers:
    """Keeps answers by organisation and question."""

    def __init__(
        self, *, max_bytes: int, ttl: timedelta, clock: Clock, registry: CollectorRegistry
    ) -> None:
        self._cache: Cache[tuple[str, str, bytes], Message] = Cache(
            "monitoring_answers", max_bytes=max_bytes, ttl=ttl, clock=clock, registry=registry
        )

    async def get(
        self, organization: str, request: Message, work: Callable[[], Awaitable[Answer]]
    ) -> Answer:
        """Give the answer to a request, worked out if need be; nobody may change it."""
        asked = request.SerializeToString(deterministic=True)

        async def load() -> Loaded[Message]:
            answer = await work()
            return Loaded(value=answer, size=len(asked) + answer.ByteSize() + _OVERHEAD)

        key = (organization, request.DESCRIPTOR.full_name, asked)
        return cast("Answer", await self._cache.get(key, load))

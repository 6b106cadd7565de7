"""Answers about executions that have ended: they do not change any more, so they are kept."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from datetime import timedelta
from typing import TypeVar, cast

from google.protobuf.message import Message
from prometheus_client import CollectorRegistry

from brikk_shared.cache import Cache, Loaded
from brikk_shared.call import organization
from brikk_shared.clock import Clock

Answer = TypeVar("Answer", bound=Message)

TTL = timedelta(minutes=1)
"""How long an execution may be read here that another replica has removed."""
# What keeping an answer takes beside its bytes: many are small.
_OVERHEAD = 1000


class Finished:
    """Keeps answers to the organisation that asked.

    Args:
        max_bytes: of all answers together, as they travel.
    """

    def __init__(self, *, max_bytes: int, clock: Clock, registry: CollectorRegistry) -> None:
        self._cache: Cache[tuple[str, str, str], Message] = Cache(
            "workflow_finished", max_bytes=max_bytes, ttl=TTL, clock=clock, registry=registry
        )

    async def answer(
        self, execution_id: str, question: str, load: Callable[[], Awaitable[tuple[Answer, bool]]]
    ) -> Answer:
        """Returns the answer to a question about an execution; nobody may change it.

        `load` reads it, and tells whether the execution has ended.
        """

        async def measured() -> Loaded[Message]:
            answer, ended = await load()
            return Loaded(value=answer, size=answer.ByteSize() + _OVERHEAD if ended else None)

        key = (organization(), execution_id, question)
        return cast("Answer", await self._cache.get(key, measured))

    def forget(self, execution_ids: Collection[str]) -> None:
        """Forgets executions that were removed."""
        self._cache.discard(lambda key: key[1] in execution_ids)

"""What was read and does not change any more, kept in memory: bounded in bytes and in time."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge

from brikk_shared.clock import Clock

Key = TypeVar("Key")
Value = TypeVar("Value")


@dataclass(frozen=True, kw_only=True, slots=True)
class Loaded(Generic[Value]):
    """What was loaded, and how many bytes keeping it takes; None when it may still change."""

    value: Value
    size: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Kept(Generic[Value]):
    value: Value
    size: int
    until: float  # by the monotonic clock


class Cache(Generic[Key, Value]):
    """Keeps the values that were used last; who asks for one while it is loaded gets the same.

    A value that may still change is not kept, nor given to anybody but the one who loaded it: for
    the others it may be older than their question.

    Args:
        name: of the metrics, `brikk_<name>_cache_*`.
        max_bytes: of all values together; with 0 nothing is kept.
        ttl: how long a value is kept that nobody discards.
    """

    def __init__(
        self,
        name: str,
        *,
        max_bytes: int,
        ttl: timedelta,
        clock: Clock,
        registry: CollectorRegistry,
    ) -> None:
        self._max_bytes = max_bytes
        self._ttl = ttl.total_seconds()
        self._clock = clock
        self._kept: OrderedDict[Key, _Kept[Value]] = OrderedDict()
        self._loading: dict[Key, asyncio.Future[_Kept[Value] | None]] = {}
        self._bytes = 0
        asked = Counter(
            f"brikk_{name}_cache_requests",
            "Reads through the cache, by whether the value was there: hit, miss.",
            ["result"],
            registry=registry,
        )
        self._hits, self._misses = asked.labels("hit"), asked.labels("miss")
        size = Gauge(f"brikk_{name}_cache_bytes", "Memory that the values take.", registry=registry)
        size.set_function(lambda: self._bytes)

    async def get(self, key: Key, load: Callable[[], Awaitable[Loaded[Value]]]) -> Value:
        """Give the value of a key, loaded if need be.

        Raises:
            Exception: what `load` raised; each caller loads for itself then.
        """
        kept = self._find(key)
        if kept is None and (loading := self._loading.get(key)) is not None:
            kept = await asyncio.shield(loading)
        if kept is not None:
            self._hits.inc()
            return kept.value
        self._misses.inc()
        return await self._load(key, load)

    def discard(self, which: Callable[[Key], bool]) -> None:
        """Forget the values of some keys, also of those that are being loaded just now."""
        for key in [each for each in self._kept if which(each)]:
            self._forget(key)
        for key in [each for each in self._loading if which(each)]:
            del self._loading[key]

    async def _load(self, key: Key, load: Callable[[], Awaitable[Loaded[Value]]]) -> Value:
        ours: asyncio.Future[_Kept[Value] | None] = asyncio.get_running_loop().create_future()
        self._loading.setdefault(key, ours)
        kept: _Kept[Value] | None = None
        try:
            loaded = await load()
            if loaded.size is not None:
                until = self._clock.monotonic() + self._ttl
                kept = _Kept(value=loaded.value, size=loaded.size, until=until)
        finally:
            # Unless another loads it too, or it was discarded meanwhile.
            if self._loading.get(key) is ours:
                del self._loading[key]
                if kept is not None:
                    self._keep(key, kept)
            ours.set_result(kept)
        return loaded.value

    def _find(self, key: Key) -> _Kept[Value] | None:
        kept = self._kept.get(key)
        if kept is None:
            return None
        if kept.until <= self._clock.monotonic():
            self._forget(key)
            return None
        self._kept.move_to_end(key)
        return kept

    def _keep(self, key: Key, kept: _Kept[Value]) -> None:
        if kept.size > self._max_bytes:
            return
        self._kept[key] = kept
        self._bytes += kept.size
        while self._bytes > self._max_bytes:
            self._forget(next(iter(self._kept)))

    def _forget(self, key: Key) -> None:
        self._bytes -= self._kept.pop(key).size

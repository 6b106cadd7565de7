"""The cache: what it keeps and for how long, and what those get who ask at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
from prometheus_client import CollectorRegistry

from brikk_shared.cache import Cache, Loaded
from brikk_shared.testing import ManualClock

TTL = timedelta(seconds=60)


class Shelf:
    """A cache of at most 100 bytes, and how often each key was loaded."""

    def __init__(self) -> None:
        self.clock, self.registry = ManualClock(), CollectorRegistry()
        self.cache: Cache[str, str] = Cache(
            "shelf", max_bytes=100, ttl=TTL, clock=self.clock, registry=self.registry
        )
        self.loads: list[str] = []
        self._begun: asyncio.Queue[str] = asyncio.Queue()
        self.gate = asyncio.Event()
        self.gate.set()

    def loader(self, key: str, size: int | None) -> Callable[[], Awaitable[Loaded[str]]]:
        async def load() -> Loaded[str]:
            self.loads.append(key)
            value = f"{key}{len(self.loads)}"
            self._begun.put_nowait(value)
            await self.gate.wait()
            return Loaded(value=value, size=size)

        return load

    async def get(self, key: str, *, size: int | None = 40) -> str:
        return await self.cache.get(key, self.loader(key, size))

    async def begun(self, value: str) -> None:
        """Waits until the load that will give a value has begun."""
        async with asyncio.timeout(10):
            while await self._begun.get() != value:
                pass

    def shown(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"brikk_shelf_cache_{name}", labels)


async def test_what_was_loaded_is_kept_for_its_time() -> None:
    shelf = Shelf()
    assert [await shelf.get("a") for _ in range(3)] == ["a1"] * 3
    shelf.clock.advance(TTL - timedelta(seconds=1))
    assert await shelf.get("a") == "a1"
    shelf.clock.advance(timedelta(seconds=1))
    assert await shelf.get("a") == "a2"
    assert shelf.shown("requests_total", result="hit") == 3
    assert shelf.shown("requests_total", result="miss") == 2
    assert shelf.shown("bytes") == 40


async def test_the_value_used_longest_ago_goes_when_there_is_no_room() -> None:
    shelf = Shelf()
    await shelf.get("a")
    await shelf.get("b")
    await shelf.get("a")
    await shelf.get("c")
    assert [await shelf.get(key) for key in "ac"] == ["a1", "c3"]
    assert await shelf.get("b") == "b4"
    assert shelf.shown("bytes") == 80


async def test_what_is_larger_than_all_the_room_is_not_kept() -> None:
    shelf = Shelf()
    await shelf.get("a")
    assert [await shelf.get("b", size=101) for _ in range(2)] == ["b2", "b3"]
    assert await shelf.get("a") == "a1"


async def test_what_may_still_change_is_loaded_by_each_who_asks() -> None:
    shelf = Shelf()
    shelf.gate.clear()
    asking = [asyncio.create_task(shelf.get("a", size=None)) for _ in range(3)]
    await shelf.begun("a1")
    shelf.gate.set()
    # Those who asked while it was loaded may know of a change that the first one has not seen.
    assert sorted(await asyncio.gather(*asking)) == ["a1", "a2", "a3"]
    assert shelf.shown("bytes") == 0


async def test_those_who_ask_at_once_load_once() -> None:
    shelf = Shelf()
    shelf.gate.clear()
    asking = [asyncio.create_task(shelf.get("a")) for _ in range(5)]
    await shelf.begun("a1")
    shelf.gate.set()
    assert set(await asyncio.gather(*asking)) == {"a1"}
    assert shelf.loads == ["a"]


async def test_the_others_load_when_the_one_who_did_gives_up() -> None:
    shelf = Shelf()
    shelf.gate.clear()
    first = asyncio.create_task(shelf.get("a"))
    await shelf.begun("a1")
    others = [asyncio.create_task(shelf.get("a")) for _ in range(2)]
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    shelf.gate.set()
    assert sorted(await asyncio.gather(*others)) == ["a2", "a3"]
    # One who gives up waiting takes nothing from the others.
    shelf.gate.clear()
    waiting = [asyncio.create_task(shelf.get("b")) for _ in range(3)]
    await shelf.begun("b4")
    waiting[1].cancel()
    shelf.gate.set()
    assert await waiting[0] == await waiting[2] == "b4"


async def test_a_failure_is_each_ones_own() -> None:
    shelf = Shelf()

    async def fail() -> Loaded[str]:
        raise LookupError("a")

    with pytest.raises(LookupError):
        await shelf.cache.get("a", fail)
    assert await shelf.get("a") == "a1"


async def test_what_is_discarded_is_loaded_again_even_if_it_is_being_loaded() -> None:
    shelf = Shelf()
    await shelf.get("a")
    await shelf.get("b")
    shelf.cache.discard(lambda key: key == "a")
    assert [await shelf.get(key) for key in "ab"] == ["a3", "b2"]
    shelf.cache.discard(lambda _: True)
    assert shelf.shown("bytes") == 0
    shelf.gate.clear()
    before = asyncio.create_task(shelf.get("a"))
    await shelf.begun("a4")
    shelf.cache.discard(lambda key: key == "a")
    after = asyncio.create_task(shelf.get("a"))
    await shelf.begun("a5")
    shelf.gate.set()
    assert [await before, await after] == ["a4", "a5"]
    assert await shelf.get("a") == "a5"

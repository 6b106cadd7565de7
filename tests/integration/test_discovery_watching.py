"""Watches over real connections: snapshots, changes, and going on wherever and whenever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import psutil
import pytest

from brikk.discovery.v1 import agent_pb2
from brikk.discovery.v1 import discovery_service_pb2 as pb
from brikk.discovery.v1.discovery_service_pb2_grpc import DiscoveryServiceStub
from brikk_discovery.domain.agent import AgentKey
from brikk_discovery.store.removals import RemovalStore
from brikk_shared.database import Database
from brikk_shared.errors import Reason
from brikk_shared.testing import ManualClock, Tokens
from support.backup import copy
from support.discovery import Caller, Discovery, agent, registration, serving
from support.discovery_process import started
from support.watching import Told, Watch, watching


@pytest.fixture
def tokens(tmp_path: Path) -> Tokens:
    return Tokens(tmp_path)


@pytest.fixture
async def discovery(database_url: str, tokens: Tokens) -> AsyncIterator[Discovery]:
    async with serving(database_url, tokens) as discovery:
        yield discovery


async def test_a_snapshot_is_followed_by_each_change(discovery: Discovery) -> None:
    caller = discovery.caller()
    first = await caller.register("first", capacity=2)
    async with watching(caller) as watch:
        told = await watch.whole()
        assert told.agents == ["first"]
        (candidate,) = told.candidates.values()
        assert candidate.endpoint == "127.0.0.1:9000"
        assert candidate.service == "agents/first/services/main"
        assert candidate.capacity == 2

        await caller.register("second")
        await watch.until(lambda told: told.agents == ["first", "second"])
        await caller.beat("first", first.epoch, in_flight=2)
        busy = agent_pb2.Agent.STATE_BUSY
        key = ("agents/first", "text.write")
        await watch.until(lambda told: told.candidates[key].state == busy)
        await caller.beat("first", first.epoch, draining=True)
        await watch.until(lambda told: told.agents == ["second"])
        await caller.beat("first", first.epoch)
        await watch.until(lambda told: told.agents == ["first", "second"])
        await caller.deregister("first", first.epoch)
        await watch.until(lambda told: told.agents == ["second"])


async def test_prefixes_are_watched_whoever_offers_what_is_below(discovery: Discovery) -> None:
    caller = discovery.caller()
    async with watching(caller, "text.*", "image.draw") as watch:
        assert (await watch.whole()).candidates == {}
        await caller.register("one", "text.write", "text.read.aloud", "image.scan")
        await watch.until(
            lambda told: (
                {capability for _, capability in told.candidates}
                == {"text.write", "text.read.aloud"}
            )
        )
        await caller.register("one", "image.draw", "text")
        await watch.until(
            lambda told: {capability for _, capability in told.candidates} == {"image.draw"}
        )


async def test_a_watcher_that_comes_back_gets_what_it_missed(discovery: Discovery) -> None:
    caller = discovery.caller()
    gone = await caller.register("gone")
    await caller.register("stays")
    async with watching(caller) as watch:
        told = await watch.whole()
    await caller.register("came")
    await caller.register("other", "image.draw")
    await caller.deregister("gone", gone.epoch)
    async with watching(caller, told=told) as watch:
        assert await watch.read() == "changes"
        assert told.agents == ["came", "stays"]
    async with watching(caller, told=told) as watch:
        await watch.read()
        assert told.agents == ["came", "stays"]
    assert told.resyncs == []


async def test_a_watch_goes_on_after_a_restart(database_url: str, tokens: Tokens) -> None:
    async with serving(database_url, tokens) as discovery:
        caller = discovery.caller()
        gone = await caller.register("gone")
        late = await caller.register("late")
        await caller.register("changed")
        async with watching(caller) as watch:
            told = await watch.whole()
            await caller.deregister("gone", gone.epoch)
            await watch.until(lambda told: told.agents == ["changed", "late"])
        await caller.deregister("late", late.epoch)
        await caller.register("came")
        await caller.register("changed", "image.draw")
    async with serving(database_url, tokens) as discovery:
        caller = discovery.caller()
        async with watching(caller, told=told) as watch:
            assert await watch.read() == "changes"
            assert told.agents == ["came"]
            await caller.register("after")
            await watch.until(lambda told: told.agents == ["after", "came"])
    assert told.resyncs == []


async def test_a_watch_goes_on_at_another_replica(postgres_url: str, tokens: Tokens) -> None:
    async with (
        serving(postgres_url, tokens, bookmark_interval="50ms") as one,
        serving(postgres_url, tokens, bookmark_interval="50ms") as other,
    ):
        here, there = one.caller(), other.caller()
        gone = await there.register("gone")
        async with watching(here) as watch:
            told = await watch.whole()
            await watch.until(lambda told: told.agents == ["gone"])
            await here.register("came")
            await watch.until(lambda told: told.agents == ["came", "gone"])
        await here.deregister("gone", gone.epoch)
        for _ in range(5):
            async with watching(there, told=told) as watch:
                await watch.until(lambda told: told.agents == ["came"])
                await watch.read()
            here, there = there, here
    assert told.resyncs == []


async def test_a_registry_that_went_back_tells_all_anew(
    sqlite_url: str, tmp_path: Path, tokens: Tokens
) -> None:
    path, backup = sqlite_url.removeprefix("sqlite:///"), str(tmp_path / "backup.db")
    async with serving(sqlite_url, tokens) as discovery:
        await discovery.caller().register("old")
    copy(path, backup)
    async with serving(sqlite_url, tokens) as discovery:
        caller = discovery.caller()
        await caller.register("lost")
        async with watching(caller) as watch:
            told = await watch.whole()
    assert told.agents == ["lost", "old"]
    copy(backup, path)
    async with serving(sqlite_url, tokens) as discovery:
        caller = discovery.caller()
        # Its revision is newer than the token's, which does not make the token's history true.
        await caller.register("new")
        async with watching(caller, told=told) as watch:
            assert await watch.read() == "resync"
            assert (await watch.whole()).agents == ["new", "old"]
        assert told.resyncs == ["the registry went back to before the resume token"]
        assert (await discovery.metrics())["brikk_discovery_resyncs_total ahead"] == 1


async def test_another_registry_tells_all_anew(tmp_path: Path, tokens: Tokens) -> None:
    async with serving(f"sqlite:///{tmp_path}/one.db", tokens) as discovery:
        caller = discovery.caller()
        await caller.register("one")
        async with watching(caller) as watch:
            told = await watch.whole()
    async with serving(f"sqlite:///{tmp_path}/two.db", tokens) as discovery:
        await discovery.caller().register("two")
        async with watching(discovery.caller(), told=told) as watch:
            assert await watch.read() == "resync"
            assert (await watch.whole()).agents == ["two"]


async def test_another_organization_is_told_nothing(discovery: Discovery) -> None:
    caller, foreign = discovery.caller(), discovery.caller("globex")
    await caller.register("one")
    async with watching(caller) as watch, watching(foreign, "text.*") as blind:
        told = await watch.whole()
        assert (await blind.whole()).candidates == {}
        await caller.register("two")
        await watch.until(lambda told: told.agents == ["one", "two"])
        await foreign.register("theirs")
        await blind.until(lambda told: told.agents == ["theirs"])
    async with watching(foreign, told=told) as watch:
        error = await watch.refusal()
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", Reason.INVALID_PAGE_TOKEN)


@pytest.mark.parametrize("token", ["nonsense", "AAAA", "é", "A" * 256])
async def test_a_token_that_was_not_made_here_is_refused(discovery: Discovery, token: str) -> None:
    told = Told()
    told.resume_token = token
    async with watching(discovery.caller(), told=told) as watch:
        error = await watch.refusal()
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", Reason.INVALID_PAGE_TOKEN)
    assert [each.field for each in error.violations] == ["resume_token"]


async def test_a_token_holds_for_the_capabilities_that_it_was_made_for(
    discovery: Discovery,
) -> None:
    caller = discovery.caller()
    async with watching(caller, "a", "b.*") as watch:
        told = await watch.whole()
    async with watching(caller, "b.*", "a", "a", "b.c", told=told) as watch:
        assert await watch.read() == "bookmark"
    async with watching(caller, "a", told=told) as watch:
        assert (await watch.refusal()).reason is Reason.INVALID_PAGE_TOKEN
    altered = told.resume_token.replace(
        told.resume_token[20], "A" if told.resume_token[20] != "A" else "B", 1
    )
    told.resume_token = altered
    async with watching(caller, "a", "b.*", told=told) as watch:
        assert (await watch.refusal()).reason is Reason.INVALID_PAGE_TOKEN


async def test_a_drain_sends_watchers_elsewhere(database_url: str, tokens: Tokens) -> None:
    async with started(database_url, tokens) as discovery, watching(discovery.caller) as watch:
        await watch.whole()
        discovery.process.terminate()
        error = await watch.refusal()
        assert (error.code, error.reason) == ("UNAVAILABLE", Reason.SHUTTING_DOWN)
        assert await discovery.process.wait() == 0


async def test_watchers_are_limited(database_url: str, tokens: Tokens) -> None:
    async with serving(database_url, tokens, max_organization_watchers=1) as discovery:
        caller = discovery.caller()
        async with watching(caller) as watch:
            await watch.whole()
            async with watching(caller) as refused:
                error = await refused.refusal()
            assert (error.code, error.reason) == ("RESOURCE_EXHAUSTED", Reason.QUOTA_EXCEEDED)
            assert error.metadata == {"quota": "organization_watchers", "limit": "1"}
            async with watching(discovery.caller("globex")) as other:
                await other.whole()
            assert (await discovery.metrics())["brikk_discovery_watchers"] <= 2
        async with watching(caller) as watch:
            await watch.whole()


async def test_bookmarks_show_that_a_quiet_stream_is_alive(
    database_url: str, tokens: Tokens
) -> None:
    async with serving(database_url, tokens, bookmark_interval="20ms") as discovery:
        caller = discovery.caller()
        async with watching(caller) as watch:
            told = await watch.whole()
            before = told.revision
            await caller.register("one", "image.draw")
            await watch.until(lambda told: told.revision > before)
            assert told.candidates == {}


async def test_watchers_learn_how_the_calls_of_others_went(tmp_path: Path) -> None:
    clock = ManualClock()
    tokens = Tokens(tmp_path, clock=clock)
    async with serving(f"sqlite:///{tmp_path}/brikk.db", tokens, clock=clock) as discovery:
        caller = discovery.caller()
        await caller.register("one")
        async with watching(caller) as watch:
            await watch.whole()
            outcome = pb.Outcome(
                agent="agents/one", capability="text.write", successes=3, failures=1
            )
            outcome.latency.FromMilliseconds(200)
            await caller.stub.ReportOutcomes(
                pb.ReportOutcomesRequest(outcomes=[outcome]), metadata=caller.metadata, timeout=20
            )
            reading = asyncio.create_task(watch.until(lambda told: bool(told.observations)))
            while not reading.done():
                clock.advance(timedelta(milliseconds=500))
                await asyncio.wait({reading}, timeout=0.02)
            (observation,) = (await reading).observations
    assert observation.agent == "agents/one"
    assert observation.success_rate == pytest.approx(0.75)
    assert observation.latency.ToMilliseconds() == 200


@asynccontextmanager
async def slow_caller(discovery: Discovery) -> AsyncIterator[Caller]:
    """A caller whose connection takes little while nobody reads."""
    narrow = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 65_535)]
    async with grpc.aio.insecure_channel(discovery.address, options=narrow) as channel:
        metadata = discovery.caller().metadata
        yield Caller(stub=DiscoveryServiceStub(channel), metadata=metadata)


async def register_much(caller: Caller, version: str) -> None:
    """Register 3000 offers, of which a snapshot takes a megabyte."""
    capabilities = [f"text.{'x' * 100}{number}" for number in range(100)]
    for number in range(30):
        message = agent(*capabilities)
        message.version = version
        await caller.send(registration(f"agent-{number}", message))


async def test_a_watcher_that_reads_slowly_begins_anew(tmp_path: Path, tokens: Tokens) -> None:
    async with (
        serving(f"sqlite:///{tmp_path}/brikk.db", tokens) as discovery,
        slow_caller(discovery) as slow,
    ):
        caller = discovery.caller()
        await register_much(caller, "1")
        async with watching(slow, "text.*") as watch:
            await watch.read()
            await register_much(caller, "2")
            told = await watch.until(lambda told: told.complete and bool(told.resyncs))
            assert len(told.candidates) == 3000
            assert told.resyncs == ["too much changed since to tell it piece by piece"]


async def test_a_stream_that_nobody_reads_ends_with_its_token(tmp_path: Path) -> None:
    clock = ManualClock()
    tokens = Tokens(tmp_path, clock=clock)
    async with (
        serving(f"sqlite:///{tmp_path}/brikk.db", tokens, clock=clock) as discovery,
        slow_caller(discovery) as slow,
    ):
        await register_much(discovery.caller(), "1")
        async with watching(slow, "text.*") as watch:
            await watch.read()
            clock.advance(timedelta(hours=1))
            error = await watch.refusal()
            assert (error.code, error.reason) == ("UNAUTHENTICATED", Reason.TOKEN_INVALID)
            assert not watch.told.complete


async def test_the_store_knows_since_when_it_knows_removals(database_url: str) -> None:
    one, two = AgentKey("acme", "one"), AgentKey("acme", "two")
    now, hour = datetime(2026, 1, 1, tzinfo=UTC), timedelta(hours=1)
    async with Database(database_url, migrations="brikk_discovery.store.migrations") as database:
        store = RemovalStore(database)
        async with database.transaction() as connection:
            await store.add(connection, {one: 3, two: 5}, now)
            await store.add(connection, {one: 7}, now + hour)
            await store.forget(connection, now)
            assert await store.forgotten(connection) == 0
            assert await store.since(connection, 0) == {one: 7, two: 5}
            for _ in range(2):
                await store.forget(connection, now + hour)
                assert await store.forgotten(connection) == 5
                assert await store.since(connection, 0) == {one: 7}
            await store.forget(connection, now + 2 * hour)
            assert await store.forgotten(connection) == 7
            assert await store.since(connection, 0) == {}


async def test_a_storm_of_watchers_takes_little_memory(tmp_path: Path, tokens: Tokens) -> None:
    url = f"sqlite:///{tmp_path}/brikk.db"
    async with started(url, tokens) as discovery:
        caller = discovery.caller
        for number in range(40):
            await caller.register(f"agent-{number}", *[f"text.c{at}" for at in range(25)])
        server = psutil.Process(discovery.process.pid)
        before = server.memory_info().rss

        async def storm(tolds: list[Told]) -> None:
            async with AsyncExitStack() as streams:
                watches: list[Watch] = [
                    await streams.enter_async_context(watching(caller, "text.*", told=told))
                    for told in tolds
                ]
                await asyncio.gather(*(watch.read() for watch in watches))
                await asyncio.gather(*(watch.whole() for watch in watches))
                await caller.register("late", "text.late")
                await asyncio.gather(
                    *(watch.until(lambda told: "late" in told.agents) for watch in watches)
                )

        tolds = [Told() for _ in range(500)]
        await storm(tolds)
        after_first = server.memory_info().rss
        await storm(tolds)
        assert all(len(told.candidates) == 1001 and not told.resyncs for told in tolds)
        grown = (server.memory_info().rss - before) / 2**20
        assert grown < 100, f"{grown:.0f} MiB, {(after_first - before) / 2**20:.0f} at first"

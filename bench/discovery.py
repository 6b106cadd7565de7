"""The registry at size: look-ups beside bare calls, thousands of leases, watchers, and a death.

The whole suite is up: events of the registry reach webhooks and monitoring, and agents beat.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import cycle

import grpc
import psutil

from bench.etcd import Etcd, etcd
from bench.fleet import CAPABILITIES, CONNECTIONS, SERVICES, Fleet, capability, connection
from bench.load import put_load
from bench.lookup import NakedLookups, naked_lookup
from bench.report import Case, Report, beside, percentile
from bench.suite import started_suite
from brikk.discovery.v1 import discovery_service_pb2 as pb
from brikk.discovery.v1 import discovery_service_pb2_grpc
from brikk_cli.suite import Suite

IN_FLIGHT = 64
UNITS = 4_000
AGENTS = (10, 1_000, 5_000)
BEAT_INTERVAL_S = 10.0
"""The registry's default."""
PROCESS = 20
"""Agents that share one, in one of three measurements of what their heartbeats cost."""
WATCHERS = 500
CHANGES = 40
CANDIDATES = 20
ENVIRONMENT = {
    "BRIKK_DISCOVERY_RATE_LIMIT": "1000000",
    "BRIKK_DISCOVERY_RATE_BURST": "1000000",
    "BRIKK_DISCOVERY_MAX_AGENTS": "10000",
    "BRIKK_DISCOVERY_MAX_CONCURRENT_CALLS": "20000",
}


async def measure(*, quick: bool) -> Report:
    """Runs every case on SQLite, and on PostgreSQL unless it must be quick."""
    cases: list[Case] = []
    headline: dict[str, float] = {}
    async with naked_lookup() as naked, etcd() as peer:
        if peer is not None:
            await peer.fill(AGENTS[-1], b"x" * 200)
        for store in ("sqlite",) if quick else ("sqlite", "postgresql"):
            async with benched(store, naked) as bench:
                cases += [case async for case in bench.cases(naked, peer, pairs=5 if quick else 9)]
    by_name = {case.name: case for case in cases}
    services = AGENTS[-1] * SERVICES
    headline["resolve_ratio"] = by_name[f"sqlite, resolve among {services:,}"].ratio or 0.0
    headline["watch_p99_ms"] = by_name[f"sqlite, change to {WATCHERS} watchers"].p99_ms
    return Report(bench="discovery", cases=cases, headline=headline)


class Bench:
    """A suite with a growing fleet."""

    def __init__(
        self, store: str, suite: Suite, channel: grpc.aio.Channel, naked: NakedLookups
    ) -> None:
        self._store = store
        self._suite = suite
        self._metadata = (("authorization", f"Bearer {suite.token()}"),)
        self._stub = discovery_service_pb2_grpc.DiscoveryServiceStub(channel)
        self._fleet = Fleet(suite.addresses["discovery"], channel, self._metadata, naked.address)

    async def cases(
        self, naked: NakedLookups, peer: Etcd | None, *, pairs: int
    ) -> AsyncIterator[Case]:
        """Measures one thing after the other."""
        registered: list[float] = []
        seconds = 0.0
        for agents in AGENTS:
            load = await self._fleet.grow(agents)
            registered += load.latencies_ms
            seconds += load.seconds
            async with self._fleet.beating(BEAT_INTERVAL_S):
                yield await self._resolve(naked, agents, pairs)
        yield self._case(
            f"register {AGENTS[-1]:,} agents from cold", registered, seconds, total_s=seconds
        )
        if peer is not None:
            # Linearizable reads, as its clients make them by default.
            name = f"etcd, range among {AGENTS[-1] * SERVICES:,}"
            yield await _beside(naked, name, lambda: peer.read(capability(0), CANDIDATES), pairs)
        async with self._fleet.beating(BEAT_INTERVAL_S) as beats:
            yield await self._death()
            yield await self._beats(beats, f"one a process on {CONNECTIONS} connections")
            yield await self._watchers()
        async with self._fleet.beating(BEAT_INTERVAL_S, streams=False) as beats:
            yield await self._beats(beats, "one a process with one call each")
        async with self._fleet.beating(BEAT_INTERVAL_S, in_process=PROCESS) as beats:
            yield await self._beats(beats, f"{PROCESS} a process")
        yield await self._herd()
        yield await self._restart()

    async def _resolve(self, naked: NakedLookups, agents: int, pairs: int) -> Case:
        await naked.answer_with(await self._look_up(0))
        numbers = cycle(range(CAPABILITIES))
        name = f"{self._store}, resolve among {agents * SERVICES:,}"
        return await _beside(naked, name, lambda: self._look_up(next(numbers)), pairs)

    async def _beats(self, latencies: list[float], how: str) -> Case:
        """What it costs to keep the whole fleet alive."""
        # Until all have beaten so.
        await asyncio.sleep(1.1 * BEAT_INTERVAL_S)
        latencies.clear()
        process = self._process()
        begin, used = time.perf_counter(), sum(process.cpu_times()[:2])
        await asyncio.sleep(2 * BEAT_INTERVAL_S)
        seconds = time.perf_counter() - begin
        share = (sum(process.cpu_times()[:2]) - used) / seconds
        return self._case(
            f"beats of {AGENTS[-1]:,} agents, {how}",
            list(latencies),
            seconds,
            core_share=share,
        )

    async def _watchers(self) -> Case:
        """From the call that changes an agent until a watcher of its capability knows."""
        changed_at = 0.0
        latencies: list[float] = []
        synchronised, heard = asyncio.Semaphore(0), asyncio.Semaphore(0)

        async def watch(stub: discovery_service_pb2_grpc.DiscoveryServiceAsyncStub) -> None:
            request = pb.WatchCapabilitiesRequest(capabilities=[capability(0)])
            async for message in stub.WatchCapabilities(request, metadata=self._metadata):
                if message.HasField("snapshot") and message.snapshot.complete:
                    synchronised.release()
                elif message.HasField("changes"):
                    latencies.append((time.perf_counter() - changed_at) * 1000)
                    heard.release()

        async with AsyncExitStack() as stack:
            stubs = [
                discovery_service_pb2_grpc.DiscoveryServiceStub(
                    await stack.enter_async_context(connection(self._suite.addresses["discovery"]))
                )
                for _ in range(10)
            ]
            watchers = [
                asyncio.create_task(watch(stubs[number % len(stubs)])) for number in range(WATCHERS)
            ]
            try:
                for _ in range(WATCHERS):
                    await synchronised.acquire()
                begin = time.perf_counter()
                for _ in range(CHANGES):
                    changed_at = time.perf_counter()
                    await self._fleet.change_one()
                    for _ in range(WATCHERS):
                        await heard.acquire()
                seconds = time.perf_counter() - begin
            finally:
                for each in watchers:
                    each.cancel()
                await asyncio.wait(watchers)
        return self._case(f"change to {WATCHERS} watchers", latencies, seconds)

    async def _death(self) -> Case:
        """From kill -9 of an agent until it is not offered any more."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "bench.agent",
            env={**os.environ, **self._suite.client_environment()},
            stderr=asyncio.subprocess.DEVNULL,
        )
        await self._until_offered("bench.echo", offered=True)
        process.kill()
        await process.wait()
        begin = time.perf_counter()
        await self._until_offered("bench.echo", offered=False)
        seconds = time.perf_counter() - begin
        return self._case("killed agent leaves", [seconds * 1000] * 2, seconds)

    async def _herd(self) -> Case:
        """All agents register at once."""
        process = self._process()
        before = process.memory_info().rss
        load = await self._fleet.register_again()
        grown = (process.memory_info().rss - before) / 2**20
        return self._case(
            f"{AGENTS[-1]:,} registrations at once",
            load.latencies_ms,
            load.seconds,
            grown_mib=grown,
        )

    async def _restart(self) -> Case:
        """The registry is killed and comes back while the fleet beats on: who is lost by that?"""
        begin = time.perf_counter()
        await self._suite.kill("discovery")
        await self._suite.ready("discovery")
        seconds = time.perf_counter() - begin
        self._fleet.refused = 0
        async with self._fleet.beating(BEAT_INTERVAL_S):
            await asyncio.sleep(4.5 * BEAT_INTERVAL_S)
        return self._case(
            "kill -9 and back",
            [seconds * 1000] * 2,
            seconds,
            leases_lost=float(self._fleet.refused),
        )

    def _case(self, what: str, latencies: list[float], seconds: float, **figures: float) -> Case:
        return Case(
            name=f"{self._store}, {what}",
            rate=round(len(latencies) / seconds, 1),
            p50_ms=percentile(latencies, 50),
            p99_ms=percentile(latencies, 99),
            figures={name: round(value, 3) for name, value in figures.items()},
        )

    async def _look_up(self, number: int) -> pb.ResolveCapabilityResponse:
        request = pb.ResolveCapabilityRequest(capability=capability(number))
        return await self._stub.ResolveCapability(request, metadata=self._metadata, timeout=30)

    async def _until_offered(self, name: str, *, offered: bool) -> None:
        request = pb.ResolveCapabilityRequest(capability=name)
        while True:
            answer = await self._stub.ResolveCapability(
                request, metadata=self._metadata, timeout=30
            )
            if bool(answer.candidates) == offered:
                return
            await asyncio.sleep(0.1)

    def _process(self) -> psutil.Process:
        pid = self._suite.pid("discovery")
        assert pid is not None
        return psutil.Process(pid)


async def _beside(
    naked: NakedLookups, name: str, work: Callable[[], Awaitable[object]], pairs: int
) -> Case:
    """Interleaves some work with calls that return as many bytes."""
    request = pb.ResolveCapabilityRequest(capability=capability(0))
    rates, limits, latencies = [], [], []
    for _ in range(pairs):
        limit = await put_load(lambda: naked.call(request), units=UNITS, in_flight=IN_FLIGHT)
        load = await put_load(work, units=UNITS, in_flight=IN_FLIGHT)
        rates.append(UNITS / load.seconds)
        limits.append(UNITS / limit.seconds)
        latencies += load.latencies_ms
    return beside(name, rates=rates, limits=limits, latencies_ms=latencies)


@asynccontextmanager
async def benched(store: str, naked: NakedLookups) -> AsyncIterator[Bench]:
    """Starts a suite on the store."""
    async with AsyncExitStack() as stack:
        suite, _ = await stack.enter_async_context(started_suite(store, ENVIRONMENT))
        channel = await stack.enter_async_context(
            grpc.aio.insecure_channel(suite.addresses["discovery"])
        )
        yield Bench(store, suite, channel, naked)

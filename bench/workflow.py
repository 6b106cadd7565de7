"""Durable steps per second beside naked calls, with the whole suite up.

The clock stops when every execution is terminal and every event has left the workflow service.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import grpc
from prometheus_client.parser import text_string_to_metric_families

from bench.load import Load, put_load
from bench.naked import TEXT, NakedCalls, naked_agent
from bench.postgres import postgresql
from bench.report import Case, Report, middle, percentile
from brikk.discovery.v1 import discovery_service_pb2, discovery_service_pb2_grpc
from brikk.workflow.v1 import (
    execution_pb2,
    execution_service_pb2,
    execution_service_pb2_grpc,
    workflow_service_pb2,
    workflow_service_pb2_grpc,
)
from brikk_cli.children import ChildSpec
from brikk_cli.ports import Ports
from brikk_cli.suite import Suite

STEPS = 3
EVENTS = 2 + STEPS
"""Of one execution: its start, its end, and the end of each step."""
CHAIN = f"""
name: bench-chain
steps:
{
    "".join(
        f'''
  - id: step{number}
    call: {{capability: bench.echo, input: {{text: "${{input.text}}"}}}}
'''
        for number in range(STEPS)
    )
}
output: "${{steps.step{STEPS - 1}.output.text}}"
"""
SUCCEEDED = execution_pb2.WorkflowExecution.STATE_SUCCEEDED
UNLIMITED = {
    f"BRIKK_{service}_{knob}": "1000000"
    for service in ("WORKFLOW", "DISCOVERY")
    for knob in ("RATE_LIMIT", "RATE_BURST")
}


async def measure(*, quick: bool) -> Report:
    """Runs every case on both stores."""
    cases: list[Case] = []
    pairs = 5 if quick else 9
    in_flights = (64,) if quick else (1, 8, 64)
    async with naked_agent() as naked:
        for store in ("postgresql", "sqlite"):
            async with benched_suite(store) as bench:
                await bench.warm_up()
                lone = await put_load(bench.execute, units=50, in_flight=1)
                cases.append(lone_case(store, lone))
                cases += [
                    await chain_case(bench, naked, store, in_flight, pairs)
                    for in_flight in in_flights
                ]
    by_name = {case.name: case for case in cases}
    return Report(
        bench="workflow",
        cases=cases,
        headline={
            "steps_ratio_postgresql": by_name["postgresql, 64 in flight"].ratio or 0.0,
            "steps_ratio_sqlite": by_name["sqlite, 64 in flight"].ratio or 0.0,
            "lone_p50_ms": by_name["postgresql, lone run of 3 steps"].p50_ms,
        },
    )


def lone_case(store: str, lone: Load) -> Case:
    """One execution at a time, from start to its end seen by the caller."""
    return Case(
        name=f"{store}, lone run of {STEPS} steps",
        rate=round(len(lone.latencies_ms) * STEPS / lone.seconds, 1),
        p50_ms=percentile(lone.latencies_ms, 50),
        p99_ms=percentile(lone.latencies_ms, 99),
    )


async def chain_case(
    bench: BenchedSuite, naked: NakedCalls, store: str, in_flight: int, pairs: int
) -> Case:
    """Interleaves durable runs with naked calls, both with as many in flight."""
    rates, limits, latencies = [], [], []
    units = 20 * in_flight if in_flight > 1 else 100
    for _ in range(pairs):
        limit = await put_load(naked.call, units=60 * in_flight, in_flight=in_flight)
        limits.append(len(limit.latencies_ms) / limit.seconds)
        load = await put_load(
            bench.execute, units=units, in_flight=in_flight, finish=bench.outbox_empty
        )
        rates.append(units * STEPS / load.seconds)
        latencies += load.latencies_ms
    return Case(
        name=f"{store}, {in_flight} in flight",
        rate=middle(rates),
        p50_ms=percentile(latencies, 50),
        p99_ms=percentile(latencies, 99),
        limit_rate=middle(limits),
        ratio=middle([rate / limit for rate, limit in zip(rates, limits, strict=True)]),
    )


class BenchedSuite:
    """A suite with the echo agent and the chain workflow, driven over gRPC."""

    def __init__(self, suite: Suite, channel: grpc.aio.Channel) -> None:
        self._suite = suite
        self._executions = execution_service_pb2_grpc.ExecutionServiceStub(channel)
        self._workflows = workflow_service_pb2_grpc.WorkflowServiceStub(channel)
        self._metadata = (("authorization", f"Bearer {suite.token()}"),)
        self._start = execution_service_pb2.StartExecutionRequest(workflow="workflows/bench-chain")
        self._start.input.update({"text": TEXT})
        self._start.wait_timeout.FromSeconds(60)
        self._executed = 0

    async def warm_up(self) -> None:
        """Writes the workflow, waits for the agent, and runs some."""
        source = workflow_service_pb2.DefinitionSource(yaml=CHAIN)
        await self._workflows.CreateWorkflow(
            workflow_service_pb2.CreateWorkflowRequest(source=source),
            metadata=self._metadata,
            timeout=10,
        )
        await self._agent_live()
        await put_load(self.execute, units=100, in_flight=16)

    async def execute(self) -> None:
        """Starts an execution and waits for its end."""
        ended = await self._executions.StartExecution(
            self._start, metadata=self._metadata, timeout=70
        )
        if ended.state != SUCCEEDED:
            raise RuntimeError(f"{ended.name} did not succeed: {ended.error.message}")
        self._executed += 1

    async def outbox_empty(self) -> None:
        """Returns once webhooks and monitoring have taken every event of what was executed."""
        url = f"http://{self._suite.http_addresses['workflow']}/metrics"
        async with aiohttp.ClientSession() as session:
            while True:
                async with session.get(url) as response:
                    families = text_string_to_metric_families(await response.text())
                published = [
                    sample.value
                    for family in families
                    for sample in family.samples
                    if sample.name == "brikk_outbox_published_total"
                ]
                if published == [self._executed * EVENTS] * 2:
                    return
                await asyncio.sleep(0.01)

    async def _agent_live(self) -> None:
        address = self._suite.addresses["discovery"]
        request = discovery_service_pb2.ResolveCapabilityRequest(capability="bench.echo")
        async with grpc.aio.insecure_channel(address) as channel:
            stub = discovery_service_pb2_grpc.DiscoveryServiceStub(channel)
            while True:
                response = await stub.ResolveCapability(request, metadata=self._metadata, timeout=5)
                if response.candidates:
                    return
                await asyncio.sleep(0.1)


@asynccontextmanager
async def benched_suite(store: str) -> AsyncIterator[BenchedSuite]:
    """Starts a suite on the store, with the agent in a process of its own."""
    async with AsyncExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="brikk-bench-")))
        url = None
        if store == "postgresql":
            url = await stack.enter_async_context(postgresql(home / "postgresql"))
        suite = await stack.enter_async_context(
            Suite(
                home / "suite",
                ports=Ports.free(),
                environment=UNLIMITED,
                database_url=url,
                log_level="warning",
            )
        )
        await suite.run_beside(
            ChildSpec(
                name="agent",
                command=[sys.executable, "-m", "bench.agent"],
                environment={"BRIKK_HOME": str(home / "suite")},
            )
        )
        channel = grpc.aio.insecure_channel(suite.addresses["workflow"])
        yield BenchedSuite(suite, await stack.enter_async_context(channel))

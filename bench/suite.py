"""A whole suite with the echo agent, driven over gRPC, and what its processes cost."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import aiohttp
import grpc
import psutil
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from bench.load import put_load
from bench.naked import TEXT
from bench.postgres import Postgresql, postgresql_server
from brikk.discovery.v1 import discovery_service_pb2, discovery_service_pb2_grpc
from brikk.workflow.v1 import (
    execution_pb2,
    execution_service_pb2,
    execution_service_pb2_grpc,
    workflow_service_pb2,
    workflow_service_pb2_grpc,
)
from brikk_cli.children import ChildSpec
from brikk_cli.plan import SERVICES
from brikk_cli.ports import Ports
from brikk_cli.suite import Suite

SUCCEEDED = execution_pb2.WorkflowExecution.STATE_SUCCEEDED
UNLIMITED = {
    f"BRIKK_{service}_{knob}": "1000000"
    for service in ("WORKFLOW", "DISCOVERY")
    for knob in ("RATE_LIMIT", "RATE_BURST")
}
BATCHES = "brikk_workflow_commit_batch_size"


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """A workflow to run: its steps echo a text, one after the other or all at once."""

    steps: int
    at_once: bool = False
    capability: str = "bench.echo"

    @property
    def id(self) -> str:
        """What it is called."""
        kind = "fan" if self.at_once else "chain"
        return f"bench-{kind}-{self.steps}-{self.capability.partition('.')[2]}"

    @property
    def yaml(self) -> str:
        """Its definition."""
        steps = "".join(
            f"""
  - id: step{number}
    {"after: []" if self.at_once else ""}
    call: {{capability: {self.capability}, input: {{text: "${{input.text}}"}}}}
    timeout: {{schedule_to_start: 1h}}
"""
            for number in range(self.steps)
        )
        return f"name: {self.id}\nsteps:\n{steps}\n"


class BenchedSuite:
    """A suite with the echo agent."""

    def __init__(self, suite: Suite, channel: grpc.aio.Channel, postgresql: Postgresql | None):
        self._suite = suite
        self._postgresql = postgresql
        self._executions = execution_service_pb2_grpc.ExecutionServiceStub(channel)
        self._workflows = workflow_service_pb2_grpc.WorkflowServiceStub(channel)
        self._metadata = (("authorization", f"Bearer {suite.token()}"),)
        self._events = 0

    async def create(self, shape: Shape) -> None:
        """Writes a workflow."""
        source = workflow_service_pb2.DefinitionSource(yaml=shape.yaml)
        await self._workflows.CreateWorkflow(
            workflow_service_pb2.CreateWorkflowRequest(source=source),
            metadata=self._metadata,
            timeout=10,
        )

    async def warm_up(self, shape: Shape) -> None:
        """Writes the workflow, waits for the agent, and runs some."""
        await self.create(shape)
        await self._agent_live()
        await put_load(partial(self.execute, shape), units=100, in_flight=16)

    async def execute(self, shape: Shape) -> str:
        """Starts an execution, waits for its end and returns its name."""
        request = _start(shape)
        request.wait_timeout.FromSeconds(60)
        ended = await self._executions.StartExecution(request, metadata=self._metadata, timeout=70)
        if ended.state != SUCCEEDED:
            raise RuntimeError(f"{ended.name} did not succeed: {ended.error.message}")
        # Its start, its end, and the end of each step.
        self._events += 2 + shape.steps
        return ended.name

    async def read(self, name: str) -> None:
        """Reads an execution, then its history."""
        await self._executions.GetExecution(
            execution_service_pb2.GetExecutionRequest(name=name),
            metadata=self._metadata,
            timeout=30,
        )
        await self._executions.ListHistory(
            execution_service_pb2.ListHistoryRequest(parent=name),
            metadata=self._metadata,
            timeout=30,
        )

    async def start(self, shape: Shape) -> None:
        """Starts an execution that does not end."""
        await self._executions.StartExecution(_start(shape), metadata=self._metadata, timeout=70)
        self._events += 1

    async def outbox_empty(self) -> None:
        """Returns once webhooks and monitoring have taken every event of what was executed."""
        while True:
            if await self._published() == [self._events] * 2:
                return
            await asyncio.sleep(0.01)

    async def until(self, metric: str, most: float) -> None:
        """Waits until a figure of the workflow service is no greater."""
        while True:
            if (await self.metrics())[metric] <= most:
                return
            await asyncio.sleep(0.1)

    async def metrics(self) -> Mapping[str, float]:
        """Reads the figures of the workflow service that have no labels."""
        return {sample.name: sample.value for sample in await self._samples() if not sample.labels}

    def cpu(self) -> Mapping[str, float]:
        """Returns the seconds of processor that each part has used."""
        return {
            part: sum(_seconds(each) for each in processes)
            for part, processes in self._processes().items()
        }

    def database_url(self, service: str) -> str:
        """Where a service keeps its data, as SQLAlchemy writes it."""
        if self._postgresql is None:
            return f"sqlite+aiosqlite:///{self._suite.home.data / service}.db"
        url = self._postgresql.url.replace("{service}", service)
        return url.replace("postgresql:", "postgresql+asyncpg:", 1)

    def rss_mib(self, part: str) -> float:
        """Returns the memory of a part."""
        return sum(each.memory_info().rss for each in self._processes()[part]) / 2**20

    async def _published(self) -> list[float]:
        return [
            sample.value
            for sample in await self._samples()
            if sample.name == "brikk_outbox_published_total"
        ]

    async def _samples(self) -> list[Sample]:
        url = f"http://{self._suite.http_addresses['workflow']}/metrics"
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            families = text_string_to_metric_families(await response.text())
            return [sample for family in families for sample in family.samples]

    def _processes(self) -> Mapping[str, list[psutil.Process]]:
        parts = {
            name: [psutil.Process(pid)]
            for name in (*SERVICES, "valkey", "agent")
            if (pid := self._suite.pid(name)) is not None
        }
        if self._postgresql is not None:
            server = psutil.Process(self._postgresql.pid)
            parts["postgresql"] = [server, *server.children(recursive=True)]
        parts["load"] = [psutil.Process()]
        return parts

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


def _start(shape: Shape) -> execution_service_pb2.StartExecutionRequest:
    request = execution_service_pb2.StartExecutionRequest(workflow=f"workflows/{shape.id}")
    request.input.update({"text": TEXT})
    return request


def _seconds(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        # A server process that ended since it was listed.
        return 0.0
    return times.user + times.system


@asynccontextmanager
async def started_suite(
    store: str, environment: Mapping[str, str]
) -> AsyncIterator[tuple[Suite, Postgresql | None]]:
    """Starts a suite on the store, in a folder of its own; with the server, if it has one."""
    async with AsyncExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="brikk-bench-")))
        server = None
        if store == "postgresql":
            server = await stack.enter_async_context(postgresql_server(home / "postgresql"))
        suite = await stack.enter_async_context(
            Suite(
                home / "suite",
                ports=Ports.free(),
                environment=environment,
                database_url=server.url if server is not None else None,
                log_level="warning",
            )
        )
        yield suite, server


@asynccontextmanager
async def benched_suite(
    store: str, environment: Mapping[str, str] = UNLIMITED
) -> AsyncIterator[BenchedSuite]:
    """Starts a suite on the store, with the agent in a process of its own."""
    async with AsyncExitStack() as stack:
        suite, server = await stack.enter_async_context(started_suite(store, environment))
        await suite.run_beside(
            ChildSpec(
                name="agent",
                command=[sys.executable, "-m", "bench.agent"],
                environment={"BRIKK_HOME": str(suite.home.path)},
            )
        )
        channel = grpc.aio.insecure_channel(suite.addresses["workflow"])
        yield BenchedSuite(suite, await stack.enter_async_context(channel), server)

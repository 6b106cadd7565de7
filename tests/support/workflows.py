"""The workflow service as it is, with agents and a registry that do what a test says."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import duration_pb2

from brikk.agent.v1 import agent_runtime_service_pb2 as agent_pb
from brikk.agent.v1.agent_runtime_service_pb2_grpc import (
    AgentRuntimeServiceServicer,
    add_AgentRuntimeServiceServicer_to_server,
)
from brikk.discovery.v1 import discovery_service_pb2 as discovery_pb
from brikk.workflow.v1 import execution_pb2, execution_service_pb2, workflow_service_pb2
from brikk.workflow.v1.execution_service_pb2_grpc import ExecutionServiceStub
from brikk.workflow.v1.schedule_service_pb2_grpc import ScheduleServiceStub
from brikk.workflow.v1.workflow_service_pb2_grpc import WorkflowServiceStub
from brikk_shared.application import running
from brikk_shared.metadata import ORGANIZATION_KEY
from brikk_shared.structs import Json, from_struct, to_struct
from brikk_shared.testing import Tokens, bearer
from brikk_workflow.app import build
from brikk_workflow.settings import WorkflowSettings
from support.loopback import LOOPBACK
from support.processes import ServiceProcess, service_process
from support.scripted_discovery import ScriptedDiscovery, candidate

Context = grpc.aio.ServicerContext[Any, Any]
Work = Callable[[agent_pb.ExecuteRequest], Awaitable[Mapping[str, Json]]]
State = execution_pb2.WorkflowExecution.State


class AgentError(Exception):
    """What a scripted agent fails with."""

    def __init__(self, code: grpc.StatusCode, message: str = "as the test says") -> None:
        super().__init__(message)
        self.code = code


class ScriptedAgent(AgentRuntimeServiceServicer):
    """An agent on a real socket; `calls` counts what reached it, by capability."""

    def __init__(self, name: str, work: Mapping[str, Work]) -> None:
        self.name = name
        self.work = work
        self.requests: list[agent_pb.ExecuteRequest] = []
        self.endpoint = ""
        self.bid: agent_pb.BidResponse | None = None
        """What it bids; None for what it registered."""
        self._arrived = asyncio.Condition()

    @property
    def calls(self) -> Counter[str]:
        return Counter(request.capability for request in self.requests)

    async def until(self, condition: Callable[[ScriptedAgent], bool]) -> None:
        """Waits until calls that arrived make the condition true."""
        async with self._arrived:
            await self._arrived.wait_for(lambda: condition(self))

    async def Execute(
        self, request: agent_pb.ExecuteRequest, context: Context
    ) -> agent_pb.ExecuteResponse:
        self.requests.append(request)
        async with self._arrived:
            self._arrived.notify_all()
        try:
            output = await self.work[request.capability](request)
        except AgentError as error:
            await context.abort(error.code, str(error))
        return agent_pb.ExecuteResponse(output=to_struct(output))

    async def Bid(self, request: agent_pb.BidRequest, context: Context) -> agent_pb.BidResponse:
        if self.bid is None:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "it bids what it registered")
        return self.bid


class Registry:
    """Serves scripted discovery: the agents that are live now."""

    def __init__(self, discovery: ScriptedDiscovery) -> None:
        self._discovery = discovery

    async def ResolveCapability(
        self, request: discovery_pb.ResolveCapabilityRequest, context: Context
    ) -> discovery_pb.ResolveCapabilityResponse:
        return await self._discovery.resolve(_organization(context), request.capability)

    async def WatchCapabilities(
        self, request: discovery_pb.WatchCapabilitiesRequest, context: Context
    ) -> AsyncIterator[discovery_pb.WatchCapabilitiesResponse]:
        messages = self._discovery.watch(
            _organization(context), request.capabilities, request.resume_token
        )
        async with aclosing(messages):
            async for message in messages:
                yield message

    async def ReportOutcomes(
        self, request: discovery_pb.ReportOutcomesRequest, context: Context
    ) -> discovery_pb.ReportOutcomesResponse:
        await self._discovery.report(_organization(context), list(request.outcomes))
        return discovery_pb.ReportOutcomesResponse()

    def handler(self) -> grpc.GenericRpcHandler:
        """What serves it."""
        unary = grpc.unary_unary_rpc_method_handler
        methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            "ResolveCapability": unary(
                self.ResolveCapability,
                discovery_pb.ResolveCapabilityRequest.FromString,
                discovery_pb.ResolveCapabilityResponse.SerializeToString,
            ),
            "WatchCapabilities": grpc.unary_stream_rpc_method_handler(
                self.WatchCapabilities,
                discovery_pb.WatchCapabilitiesRequest.FromString,
                discovery_pb.WatchCapabilitiesResponse.SerializeToString,
            ),
            "ReportOutcomes": unary(
                self.ReportOutcomes,
                discovery_pb.ReportOutcomesRequest.FromString,
                discovery_pb.ReportOutcomesResponse.SerializeToString,
            ),
        }
        return grpc.method_handlers_generic_handler("brikk.discovery.v1.DiscoveryService", methods)


def _organization(context: Context) -> str:
    return str(dict(context.invocation_metadata() or ())[ORGANIZATION_KEY])


class World:
    """A workflow service, its database, and everything around it."""

    def __init__(self, folder: Path, database_url: str) -> None:
        self.tokens = Tokens(folder)
        self.database_url = database_url
        self.discovery = ScriptedDiscovery()
        self._discovery_address = ""

    @asynccontextmanager
    async def open(self) -> AsyncIterator[World]:
        """Serves scripted discovery."""
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((Registry(self.discovery).handler(),))
        self._discovery_address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        await server.start()
        try:
            yield self
        finally:
            await server.stop(None)

    @asynccontextmanager
    async def agent(
        self,
        name: str = "agents/one",
        *,
        capacity: int = 0,
        labels: Mapping[str, str] | None = None,
        bid: agent_pb.BidResponse | None = None,
        **work: Work,
    ) -> AsyncIterator[ScriptedAgent]:
        """Serves an agent and registers it; in names of capabilities `__` stands for a dot."""
        # To the type checker it is abstract: it offers no sessions.
        kind: type[Any] = ScriptedAgent
        agent = kind(name, {key.replace("__", "."): each for key, each in work.items()})
        agent.bid = bid
        server = grpc.aio.server()
        add_AgentRuntimeServiceServicer_to_server(agent, server)
        agent.endpoint = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        await server.start()
        short = name.removeprefix("agents/")
        await self.discovery.offer(
            *(
                candidate(
                    short, each, endpoint=agent.endpoint, capacity=capacity, labels=labels or {}
                )
                for each in agent.work
            )
        )
        try:
            yield agent
        finally:
            for each in agent.work:
                await self.discovery.withdraw(short, each)
            await server.stop(None)

    def settings(self, **overrides: object) -> WorkflowSettings:
        """What the service is told, with intervals short enough to wait for."""
        given: dict[str, object] = {
            "listen": "127.0.0.1:0",
            "http_listen": "127.0.0.1:0",
            "database_url": self.database_url,
            "issuers": self.tokens.issuers,
            "service_key": self.tokens.service_key,
            "call_key": self.tokens.service_key,
            "egress_allowed": LOOPBACK,
            "discovery_address": self._discovery_address,
            "waiting_interval": timedelta(milliseconds=50),
            "claim_interval": timedelta(milliseconds=50),
            "inbox_interval": timedelta(milliseconds=50),
            "drain_grace": timedelta(seconds=5),
        }
        return WorkflowSettings.model_validate({**given, **overrides})

    @asynccontextmanager
    async def process(self, **overrides: object) -> AsyncIterator[WorkflowProcess]:
        """Runs the service as a process and gives it with a client of `acme`."""
        settings = self.settings(**overrides).model_dump(mode="json")
        async with (
            service_process("workflow", settings) as process,
            WorkflowClient(process.address, self.tokens, "acme") as client,
        ):
            yield WorkflowProcess(process=process, client=client)

    @asynccontextmanager
    async def service(
        self, *, organization: str = "acme", **overrides: object
    ) -> AsyncIterator[WorkflowClient]:
        """Runs the service and gives a client of an organisation."""
        async with (
            running(self.settings(**overrides), build) as service,
            WorkflowClient(service.address, self.tokens, organization) as client,
        ):
            yield client


@dataclass(frozen=True, kw_only=True)
class WorkflowProcess:
    """A process of the service, and a client of it."""

    process: ServiceProcess
    client: WorkflowClient


class WorkflowClient:
    """Calls the service over a socket, as one organisation."""

    def __init__(self, address: str, tokens: Tokens, organization: str) -> None:
        self.address = address
        self.metadata = bearer(tokens.user(organization, "workflow.read", "workflow.write"))
        self._channel = grpc.aio.insecure_channel(address)
        self.workflows = WorkflowServiceStub(self._channel)
        self.executions = ExecutionServiceStub(self._channel)
        self.schedules = ScheduleServiceStub(self._channel)

    async def __aenter__(self) -> WorkflowClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._channel.close()

    async def create(self, yaml: str) -> None:
        """Creates a workflow."""
        await self.workflows.CreateWorkflow(
            workflow_service_pb2.CreateWorkflowRequest(
                source=workflow_service_pb2.DefinitionSource(yaml=yaml)
            ),
            metadata=self.metadata,
            timeout=20,
        )

    async def start(
        self, workflow: str, given: Mapping[str, Json] | None = None, *, request_id: str = ""
    ) -> str:
        """Starts an execution and gives its name."""
        execution = await self.executions.StartExecution(
            execution_service_pb2.StartExecutionRequest(
                workflow=f"workflows/{workflow}",
                input=to_struct(given or {}),
                request_id=request_id,
            ),
            metadata=self.metadata,
            timeout=20,
        )
        return execution.name

    async def wait(self, name: str, *, seconds: int = 30) -> execution_pb2.WorkflowExecution:
        """Waits for the end of an execution."""
        execution = await self.executions.WaitExecution(
            execution_service_pb2.WaitExecutionRequest(
                name=name, timeout=duration_pb2.Duration(seconds=seconds)
            ),
            metadata=self.metadata,
            timeout=seconds + 10,
        )
        assert execution.state != State.STATE_RUNNING, execution
        return execution

    async def run(
        self, workflow: str, given: Mapping[str, Json] | None = None
    ) -> execution_pb2.WorkflowExecution:
        """Starts an execution and waits for its end."""
        return await self.wait(await self.start(workflow, given))

    async def cancel(self, name: str) -> None:
        """Records the wish to cancel."""
        await self.executions.CancelExecution(
            execution_service_pb2.CancelExecutionRequest(name=name),
            metadata=self.metadata,
            timeout=20,
        )

    async def history(self, name: str) -> list[execution_pb2.HistoryEntry]:
        """Reads the whole history of an execution."""
        answer = await self.executions.ListHistory(
            execution_service_pb2.ListHistoryRequest(parent=name, page_size=1000),
            metadata=self.metadata,
            timeout=20,
        )
        return list(answer.entries)


def echo(**more: Json) -> Work:
    """Work that returns its input and something more."""

    async def work(request: agent_pb.ExecuteRequest) -> Mapping[str, Json]:
        return {**from_struct(request.input), **more}

    return work

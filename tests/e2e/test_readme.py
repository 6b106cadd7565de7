"""What the README shows is true: the agent, the workflow, the table of services, the links."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
from google.protobuf.descriptor import ServiceDescriptor

from brikk.discovery.v1 import discovery_service_pb2, discovery_service_pb2_grpc
from brikk.event.v1 import event_service_pb2
from brikk.monitoring.v1 import alerting_service_pb2, monitoring_service_pb2
from brikk.webhooks.v1 import webhook_service_pb2
from brikk.workflow.v1 import (
    execution_pb2,
    execution_service_pb2,
    execution_service_pb2_grpc,
    schedule_service_pb2,
    workflow_service_pb2,
    workflow_service_pb2_grpc,
)
from brikk_cli.children import ChildSpec
from brikk_cli.ports import Ports
from brikk_cli.suite import Suite
from brikk_shared.structs import from_value
from brikk_shared.testing import bearer

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
EVENTS = event_service_pb2.DESCRIPTOR.services_by_name["EventService"]
SERVICES: dict[str, list[ServiceDescriptor]] = {
    "workflow": [
        workflow_service_pb2.DESCRIPTOR.services_by_name["WorkflowService"],
        execution_service_pb2.DESCRIPTOR.services_by_name["ExecutionService"],
        schedule_service_pb2.DESCRIPTOR.services_by_name["ScheduleService"],
    ],
    "discovery": [discovery_service_pb2.DESCRIPTOR.services_by_name["DiscoveryService"]],
    "webhooks": [webhook_service_pb2.DESCRIPTOR.services_by_name["WebhookService"], EVENTS],
    "monitoring": [
        monitoring_service_pb2.DESCRIPTOR.services_by_name["MonitoringService"],
        alerting_service_pb2.DESCRIPTOR.services_by_name["AlertingService"],
        EVENTS,
    ],
}


def block(language: str) -> str:
    """The first code block of a language."""
    found = re.search(rf"```{language}\n(.*?)```", README, re.DOTALL)
    assert found is not None
    return found[1]


def rows() -> Iterator[tuple[str, str, str]]:
    for line in README.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 4 and cells[0] in SERVICES:
            yield cells[0], cells[2], cells[3]


def test_the_table_of_services_is_complete() -> None:
    ports = Ports()
    shown = {service: (port, rpcs) for service, port, rpcs in rows()}
    assert set(shown) == set(SERVICES)
    for service, descriptors in SERVICES.items():
        port, rpcs = shown[service]
        assert port == str(getattr(ports, service))
        assert re.findall(r"\w+", rpcs) == [
            method.name for descriptor in descriptors for method in descriptor.methods
        ]


def test_every_link_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target


async def test_the_agent_runs_the_workflow(tmp_path: Path) -> None:
    agent = tmp_path / "counter.py"
    agent.write_text(block("python"))
    assert len(block("python").strip().splitlines()) <= 20
    async with Suite(tmp_path / "home", ports=Ports.free(), log_level="warning") as suite:
        await suite.run_beside(
            ChildSpec(
                name="counter",
                command=[sys.executable, str(agent)],
                environment={"BRIKK_HOME": str(tmp_path / "home")},
            )
        )
        metadata = bearer(suite.token())
        async with grpc.aio.insecure_channel(suite.addresses["workflow"]) as channel:
            source = workflow_service_pb2.DefinitionSource(yaml=block("yaml"))
            await workflow_service_pb2_grpc.WorkflowServiceStub(channel).CreateWorkflow(
                workflow_service_pb2.CreateWorkflowRequest(source=source),
                metadata=metadata,
                timeout=10,
            )
            executions = execution_service_pb2_grpc.ExecutionServiceStub(channel)
            start = execution_service_pb2.StartExecutionRequest(workflow="workflows/how-long")
            start.input.update({"text": "durable execution beats optimism"})
            execution = await executions.StartExecution(start, metadata=metadata, timeout=10)
            execution = await executions.WaitExecution(
                execution_service_pb2.WaitExecutionRequest(name=execution.name),
                metadata=metadata,
                timeout=40,
            )
        assert execution.state == execution_pb2.WorkflowExecution.STATE_SUCCEEDED
        assert from_value(execution.output) == {"share": 0.75}
        async with grpc.aio.insecure_channel(suite.addresses["discovery"]) as channel:
            agents = await discovery_service_pb2_grpc.DiscoveryServiceStub(channel).ListAgents(
                discovery_service_pb2.ListAgentsRequest(), metadata=metadata, timeout=10
            )
        assert [each.display_name for each in agents.agents] == ["counter"]

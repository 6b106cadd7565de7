"""Events across crashes: receivers away, the producer killed between publish and delete."""

from __future__ import annotations

import asyncio
import sys
from collections import defaultdict
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from brikk.monitoring.v1 import monitoring_service_pb2, monitoring_service_pb2_grpc, performance_pb2
from brikk.webhooks.v1 import webhook_pb2, webhook_service_pb2, webhook_service_pb2_grpc
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
from brikk_shared.testing import bearer
from support.receiver import Receiver, receiving

AGENT = """
from brikk_agent import Agent
agent = Agent("echo")

@agent.capability("text.echo")
async def echo(n: float) -> dict[str, float]:
    return {"n": n}

agent.run()
"""
YAML = """
name: pair
steps:
  - id: first
    call: {capability: text.echo, input: {n: "${input.n}"}}
  - id: second
    call: {capability: text.echo, input: {n: "${steps.first.output.n}"}}
"""
TYPES = [
    f"brikk.{name}.v1"
    for name in ("execution.started", "step.succeeded", "step.succeeded", "execution.succeeded")
]


@pytest.fixture
async def suite(tmp_path: Path) -> AsyncIterator[Suite]:
    agent = tmp_path / "echo.py"
    agent.write_text(AGENT)
    home = tmp_path / "home"
    async with Suite(home, ports=Ports.free(), log_level="warning") as suite:
        await suite.run_beside(
            ChildSpec(
                name="echo",
                command=[sys.executable, str(agent)],
                environment={"BRIKK_HOME": str(home)},
            )
        )
        yield suite


async def create(suite: Suite, url: str) -> None:
    metadata = bearer(suite.token())
    async with grpc.aio.insecure_channel(suite.addresses["webhooks"]) as channel:
        await webhook_service_pb2_grpc.WebhookServiceStub(channel).CreateWebhook(
            webhook_service_pb2.CreateWebhookRequest(
                webhook_id="all",
                webhook=webhook_pb2.Webhook(
                    url=url, event_types=["brikk.execution.*", "brikk.step.*"]
                ),
            ),
            metadata=metadata,
            timeout=20,
        )
    async with grpc.aio.insecure_channel(suite.addresses["workflow"]) as channel:
        source = workflow_service_pb2.DefinitionSource(yaml=YAML)
        await workflow_service_pb2_grpc.WorkflowServiceStub(channel).CreateWorkflow(
            workflow_service_pb2.CreateWorkflowRequest(source=source),
            metadata=metadata,
            timeout=20,
        )


async def execute(suite: Suite, count: int) -> None:
    """Runs the workflow so many times."""
    metadata = bearer(suite.token())
    async with grpc.aio.insecure_channel(suite.addresses["workflow"]) as channel:
        stub = execution_service_pb2_grpc.ExecutionServiceStub(channel)

        async def one(number: int) -> None:
            start = execution_service_pb2.StartExecutionRequest(workflow="workflows/pair")
            start.input.update({"n": number})
            execution = await stub.StartExecution(start, metadata=metadata, timeout=20)
            execution = await stub.WaitExecution(
                execution_service_pb2.WaitExecutionRequest(name=execution.name),
                metadata=metadata,
                timeout=40,
            )
            assert execution.state == execution_pb2.WorkflowExecution.STATE_SUCCEEDED

        await asyncio.gather(*(one(number) for number in range(count)))


async def summary(suite: Suite) -> performance_pb2.CoordinationSummary:
    async with grpc.aio.insecure_channel(suite.addresses["monitoring"]) as channel:
        stub = monitoring_service_pb2_grpc.MonitoringServiceStub(channel)
        return await stub.GetCoordinationSummary(
            monitoring_service_pb2.GetCoordinationSummaryRequest(),
            metadata=bearer(suite.token()),
            timeout=20,
        )


async def deliveries(suite: Suite) -> list[webhook_pb2.Delivery]:
    """All deliveries, oldest first."""
    request = webhook_service_pb2.ListDeliveriesRequest(parent="webhooks/all", page_size=500)
    async with grpc.aio.insecure_channel(suite.addresses["webhooks"]) as channel:
        answer = await webhook_service_pb2_grpc.WebhookServiceStub(channel).ListDeliveries(
            request, metadata=bearer(suite.token()), timeout=20
        )
    return list(answer.deliveries)[::-1]


async def had_their_effect_once(suite: Suite, receiver: Receiver, count: int) -> None:
    """Every event of so many executions was counted once, delivered, and taken in its order."""
    await receiver.wait("/", count * len(TYPES))
    shown = await summary(suite)
    while shown.executions.succeeded < count:
        shown = await summary(suite)
    assert shown.executions.started == shown.executions.succeeded == count
    assert shown.steps.succeeded == 2 * count
    taken = await deliveries(suite)
    by_subject: defaultdict[str, list[str]] = defaultdict(list)
    for delivery in taken:
        by_subject[delivery.subject].append(delivery.event_type)
    assert list(by_subject.values()) == [TYPES] * count
    assert len({delivery.event_id for delivery in taken}) == count * len(TYPES)
    ids = {each.headers["webhook-id"] for each in receiver.on("/")}
    assert ids == {delivery.name.rpartition("/")[2] for delivery in taken}


async def test_receivers_that_were_away_miss_nothing(suite: Suite) -> None:
    async with receiving() as receiver:
        await create(suite, receiver.url + "/")
        await suite.stop("webhooks")
        await suite.stop("monitoring")
        await execute(suite, 20)
        await suite.start("webhooks")
        await suite.start("monitoring")
        await had_their_effect_once(suite, receiver, 20)


async def test_a_producer_killed_between_publish_and_delete_repeats_nothing(suite: Suite) -> None:
    async with receiving() as receiver:
        await create(suite, receiver.url + "/")
        for service in ("webhooks", "monitoring", "workflow"):
            await suite.stop(service)
        # It dies after each batch that was answered and not yet deleted, and is started again.
        await suite.start("workflow", {"BRIKK_WORKFLOW_FAULT": "outbox.published"})
        first = suite.pid("workflow")
        # Few, because each batch costs a life, and each life a longer pause before the next.
        await execute(suite, 3)
        assert suite.pid("workflow") == first
        await suite.start("webhooks")
        await suite.start("monitoring")
        await had_their_effect_once(suite, receiver, 3)
        await suite.ready("workflow")
        assert suite.pid("workflow") != first

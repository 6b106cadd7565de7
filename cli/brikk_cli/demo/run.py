"""The demonstration itself: start everything, run every record, watch, count, stop."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import Struct

from brikk.discovery.v1.agent_pb2 import Agent
from brikk.discovery.v1.discovery_service_pb2 import ListAgentsRequest
from brikk.monitoring.v1.monitoring_service_pb2 import (
    GetAgentPerformanceRequest,
    GetCoordinationSummaryRequest,
)
from brikk.monitoring.v1.performance_pb2 import CoordinationSummary
from brikk.webhooks.v1.webhook_pb2 import Delivery, Webhook
from brikk.webhooks.v1.webhook_service_pb2 import CreateWebhookRequest, ListDeliveriesRequest
from brikk.workflow.v1.execution_pb2 import StepRun, WorkflowExecution
from brikk.workflow.v1.execution_service_pb2 import StartExecutionRequest
from brikk.workflow.v1.workflow_pb2 import Workflow
from brikk_agent.connection import Connection
from brikk_cli.children import ChildSpec
from brikk_cli.client import Services
from brikk_cli.definitions import check, read_definition, store
from brikk_cli.demo.alarm import Alarm
from brikk_cli.demo.examples import Examples
from brikk_cli.demo.outcome import DELIVERIES_PER_EXECUTION, Deliveries, Outcome
from brikk_cli.demo.progress import Bars, DemoProgress
from brikk_cli.failures import CommandError
from brikk_cli.ports import Ports
from brikk_cli.receiver import Receiver
from brikk_cli.suite import Suite
from brikk_shared.clock import SystemClock
from brikk_shared.ids import new_id

T = TypeVar("T")

PATIENCE = timedelta(seconds=30)
"""How long calls outlive a service that is down: longer than a restart takes."""
EXECUTIONS_WITHIN = timedelta(seconds=90)
SETTLED_WITHIN = timedelta(seconds=20)
"""How long agents may take to register, and events to reach webhooks and monitoring."""

LOG_FILE = "logs.txt"

_POLL_INTERVAL = timedelta(milliseconds=100)
_MANY = 10_000


async def run_demo(
    home: Path, examples: Examples, progress: DemoProgress, *, database_url: str | None
) -> Outcome:
    """Runs the demonstration in a folder.

    Raises CommandError when it cannot even begin; what goes wrong later is in the outcome.
    """
    records = examples.records()
    progress.say("starting Valkey and the four services, each as a process")
    async with AsyncExitStack() as stack:
        receiver = await stack.enter_async_context(Receiver())
        logs = stack.enter_context((home / LOG_FILE).open("w", encoding="utf-8", buffering=1))
        suite = await stack.enter_async_context(
            Suite(
                home / "suite",
                ports=Ports.free(),
                database_url=database_url,
                log=lambda name, line: print(f"{name:<12}", line, file=logs),
                log_level="warning",
            )
        )
        connection = Connection.load(suite.client_environment())
        services = await stack.enter_async_context(Services(connection, patience=PATIENCE))
        demo = _Demo(suite, services, receiver, progress)
        notified = await stack.enter_async_context(Receiver(arrived=demo.alarm.arrived))
        await demo.alarm.define(notified)
        await demo.start_agents(examples.agents())
        await demo.create_webhook()
        workflow = await demo.apply(examples.workflow)
        await demo.await_alarm()
        executions = await demo.execute(workflow, records)
        outcome = await demo.conclude(executions)
        progress.say("stopping")
    return replace(outcome, seconds=progress.seconds)


class _Demo:
    """The parts of a demonstration that runs."""

    def __init__(
        self, suite: Suite, services: Services, receiver: Receiver, progress: DemoProgress
    ) -> None:
        self._suite = suite
        self._services = services
        self._receiver = receiver
        self._progress = progress
        self._clock = SystemClock()
        self._run = f"demo-{new_id()}"
        """Names what this demonstration makes, so that its requests can be sent again."""
        self.alarm = Alarm(services, self._run)

    async def start_agents(self, programs: Sequence[Path]) -> None:
        """Runs each agent as a process and waits until all of them have registered."""
        names = ", ".join(program.stem for program in programs)
        self._progress.say(f"starting {len(programs)} agents: {names}")
        for program in programs:
            await self._suite.run_beside(
                ChildSpec(
                    name=program.stem,
                    command=[sys.executable, str(program)],
                    environment=self._suite.client_environment(),
                )
            )
        registered = await self._settled(self._agents, lambda agents: len(agents) >= len(programs))
        if len(registered) < len(programs):
            names = ", ".join(agent.display_name for agent in registered) or "none"
            raise CommandError(f"of the agents {len(registered)} registered: {names}")

    async def create_webhook(self) -> None:
        """Has the executions' events delivered to the receiver."""
        self._progress.say(f"creating a webhook to {self._receiver.url}")
        webhook = Webhook(
            url=self._receiver.url,
            event_types=["brikk.execution.*"],
            secret=self._receiver.secret,
            retry_schedule=[Duration(seconds=1)] * 5,
        )
        request = CreateWebhookRequest(webhook_id=self._run, webhook=webhook, request_id=self._run)
        await self._services.call(self._services.webhooks.CreateWebhook, request)

    async def apply(self, file: Path) -> Workflow:
        """Stores the workflow; CommandError when it has problems."""
        text = read_definition(file)
        answer = await check(self._services, text)
        if answer.problems:
            first = answer.problems[0]
            raise CommandError(f"{file}:{first.line}:{first.column}: {first.message}")
        workflow, _ = await store(self._services, answer.definition.workflow_id, text)
        return workflow

    async def await_alarm(self) -> None:
        """Waits until somebody was told that nothing runs."""
        self._progress.say("waiting for the alert that nothing runs")
        await self._settled(self.alarm.count, lambda now: now.notified > 0)

    async def execute(
        self, workflow: Workflow, records: Sequence[Struct]
    ) -> list[WorkflowExecution]:
        """Starts an execution per record, all at once, and follows them to their ends."""
        self._progress.say(f"executing {workflow.name} on {len(records)} records")
        seen: dict[int, WorkflowExecution] = {}
        step_ids = [step.step_id for step in workflow.definition.steps]
        with self._progress.bars(step_ids, len(records)) as bars, suppress(TimeoutError):
            async with asyncio.timeout(EXECUTIONS_WITHIN.total_seconds()):
                await self._execute_all(workflow.name, records, seen, bars)
        return list(seen.values())

    async def conclude(self, executions: Sequence[WorkflowExecution]) -> Outcome:
        """Waits until every event has arrived where it should, and collects what all parts say."""
        self._progress.say("waiting for the last deliveries and metrics")
        due = len(executions) * DELIVERIES_PER_EXECUTION
        deliveries = await self._settled(
            self._deliveries, lambda now: now.delivered + now.failed >= due
        )
        completed = sum(
            step.state == StepRun.STATE_SUCCEEDED for each in executions for step in each.steps
        )
        summary = await self._settled(
            self._summary,
            lambda now: (
                now.executions.started >= len(executions)
                and now.execution_latency.count >= len(executions)
                and now.steps.succeeded >= completed
            ),
        )
        performance = await self._services.pages(
            self._services.monitoring.GetAgentPerformance,
            GetAgentPerformanceRequest(),
            lambda page: page.agents,
            limit=_MANY,
        )
        alarms = await self._settled(self.alarm.count, lambda now: now.over)
        return Outcome(
            executions=executions,
            deliveries=deliveries,
            verified=len(self._receiver.verified),
            refused=self._receiver.refused,
            summary=summary,
            agents=performance,
            alarms=alarms,
            display_names={agent.name: agent.display_name for agent in await self._agents()},
            seconds=self._progress.seconds,
        )

    async def _execute_all(
        self,
        workflow: str,
        records: Sequence[Struct],
        seen: dict[int, WorkflowExecution],
        bars: Bars,
    ) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for index, record in enumerate(records):
                    group.create_task(self._execute(workflow, index, record, seen, bars))
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None  # they are all of one kind: a service is gone

    async def _execute(
        self,
        workflow: str,
        index: int,
        record: Struct,
        seen: dict[int, WorkflowExecution],
        bars: Bars,
    ) -> None:
        request = StartExecutionRequest(
            workflow=workflow, input=record, request_id=f"{self._run}-{index}"
        )
        seen[index] = await self._services.call(self._services.executions.StartExecution, request)
        async for answer in self._services.watch(seen[index].name):
            seen[index] = answer.execution
            bars.draw(seen.values())

    async def _agents(self) -> list[Agent]:
        return await self._services.pages(
            self._services.agents.ListAgents,
            ListAgentsRequest(),
            lambda page: page.agents,
            limit=_MANY,
        )

    async def _deliveries(self) -> Deliveries:
        found = await self._services.pages(
            self._services.webhooks.ListDeliveries,
            ListDeliveriesRequest(parent=f"webhooks/{self._run}"),
            lambda page: page.deliveries,
            limit=_MANY,
        )
        states = Counter(each.state for each in found)
        return Deliveries(
            delivered=states[Delivery.STATE_DELIVERED], failed=states[Delivery.STATE_FAILED]
        )

    async def _summary(self) -> CoordinationSummary:
        return await self._services.call(
            self._services.monitoring.GetCoordinationSummary, GetCoordinationSummaryRequest()
        )

    async def _settled(self, look: Callable[[], Awaitable[T]], enough: Callable[[T], bool]) -> T:
        """What is seen once it is enough, or when there was time enough for it to be."""
        give_up = self._clock.monotonic() + SETTLED_WITHIN.total_seconds()
        while not enough(now := await look()) and self._clock.monotonic() < give_up:
            await self._clock.sleep(_POLL_INTERVAL)
        return now

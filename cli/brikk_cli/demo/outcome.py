"""What the demonstration came to: figures for programs, tables for people, and the verdict."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from google.protobuf.duration_pb2 import Duration
from rich.console import Group
from rich.table import Table

from brikk.monitoring.v1.performance_pb2 import AgentPerformance, CoordinationSummary
from brikk.workflow.v1.execution_pb2 import StepRun, WorkflowExecution
from brikk_cli.demo.alarm import Alarms
from brikk_cli.execution_view import problem
from brikk_cli.render import Cell, duration, plain, table

DELIVERIES_PER_EXECUTION = 2
"""One when it starts and one when it ends."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Deliveries:
    """What the webhooks service says that it delivered."""

    delivered: int
    failed: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """Everything that was observed, each part by the service that knows it."""

    executions: Sequence[WorkflowExecution]
    deliveries: Deliveries
    verified: int
    """Distinct deliveries whose signature the receiver found right."""
    refused: Sequence[str]
    """Why the receiver refused the others."""
    summary: CoordinationSummary
    agents: Sequence[AgentPerformance]
    alarms: Alarms
    display_names: dict[str, str]
    """Of the live agents."""
    seconds: float

    @property
    def succeeded(self) -> int:
        """Executions that ended well."""
        return sum(each.state == WorkflowExecution.STATE_SUCCEEDED for each in self.executions)

    @property
    def completed(self) -> int:
        """Steps that ended well; skipped ones do not count."""
        return sum(step.state == StepRun.STATE_SUCCEEDED for step in self._steps())

    @property
    def retried(self) -> int:
        """Steps that took more than one attempt."""
        return sum(step.attempts > 1 for step in self._steps())

    def document(self) -> dict[str, object]:
        """The figures for programs."""
        started = len(self.executions)
        return {
            "executions": {
                "started": started,
                "succeeded": self.succeeded,
                "failed": started - self.succeeded,
            },
            "steps": {"completed": self.completed, "retried": self.retried},
            "agents": self._calls(),
            "deliveries": {
                "delivered": self.deliveries.delivered,
                "verified": self.verified,
                "failed": self.deliveries.failed,
            },
            "metrics": {"executions_recorded": self.summary.executions.started},
            "alerts": {
                "fired": self.alarms.fired,
                "notified": self.alarms.notified,
                "resolved": self.alarms.resolved,
            },
            "seconds": round(self.seconds, 1),
        }

    def problems(self) -> Iterator[str]:
        """What did not come out as it should."""
        for each in self.executions:
            if each.state != WorkflowExecution.STATE_SUCCEEDED:
                state = WorkflowExecution.State.Name(each.state)
                yield f"{each.name} is in {state}: {problem(each.error)}"
        if not self.retried:
            yield "no step was retried, though one agent fails on purpose"
        started, delivered = len(self.executions), self.deliveries.delivered
        due = started * DELIVERIES_PER_EXECUTION
        if delivered != due:
            yield f"{delivered} of {due} deliveries arrived"
        if self.verified != delivered:
            yield f"{delivered} deliveries arrived, {self.verified} were verified"
        if self.refused:
            yield f"{len(self.refused)} deliveries were refused: {self.refused[0]}"
        if self.summary.executions.started != started:
            yield f"monitoring counted {self.summary.executions.started} of {started} executions"
        if not self.alarms.over:
            yield f"of alerts, {self._alarms()}"

    def view(self) -> Group:
        """All of it for people."""
        executions, steps = self.summary.executions, self.summary.steps
        latency = self.summary.execution_latency
        return Group(
            "",
            self._steps_table(),
            "",
            self._agents_table(),
            "",
            plain(
                f"executions  {len(self.executions)} started, {self.succeeded} succeeded; "
                f"{self.completed} steps completed, {self.retried} retried"
            ),
            plain(
                f"deliveries  {self.deliveries.delivered} delivered, {self.verified} with a "
                f"verified signature, {self.deliveries.failed} failed"
            ),
            plain(
                f"metrics     {executions.started} executions recorded, "
                f"{self.summary.success_ratio:.0%} succeeded, p50 {_latency(latency.p50)}, "
                f"p95 {_latency(latency.p95)}; {steps.succeeded} steps, {steps.retried} repeated"
            ),
            plain(f"alerts      {self._alarms()}"),
            plain(f"all in all  {self.seconds:.1f} s"),
        )

    def _alarms(self) -> str:
        alarms = self.alarms
        return f"{alarms.fired} fired, {alarms.notified} notified, {alarms.resolved} resolved"

    def _steps(self) -> Iterator[StepRun]:
        return (step for each in self.executions for step in each.steps)

    def _display_name(self, agent: str) -> str:
        # An agent that has gone is not listed; its id begins with what it was called.
        return self.display_names.get(agent) or agent.removeprefix("agents/").rpartition("-")[0]

    def _calls(self) -> dict[str, int]:
        calls: Counter[str] = Counter()
        for each in self.agents:
            calls[self._display_name(each.agent)] += each.calls
        return dict(sorted(calls.items()))

    def _steps_table(self) -> Table:
        by_id: dict[str, list[StepRun]] = defaultdict(list)
        for step in self._steps():
            by_id[step.step_id].append(step)
        columns = ("step", "capability", "completed", "skipped", "attempts", "p50", "p95", "agents")
        return table(columns, (self._step_row(name, runs) for name, runs in by_id.items()))

    def _step_row(self, step_id: str, runs: Sequence[StepRun]) -> tuple[Cell, ...]:
        done = [run for run in runs if run.state == StepRun.STATE_SUCCEEDED]
        took = sorted(run.end_time.ToDatetime() - run.start_time.ToDatetime() for run in done)
        chosen = Counter(self._display_name(run.agent) for run in done)
        return (
            step_id,
            runs[0].capability,
            len(done),
            sum(run.state == StepRun.STATE_SKIPPED for run in runs),
            sum(run.attempts for run in runs),
            _quantile(took, 0.5),
            _quantile(took, 0.95),
            ", ".join(f"{name} x{count}" for name, count in chosen.most_common()),
        )

    def _agents_table(self) -> Table:
        rows = (
            (
                each.agent,
                each.calls,
                each.succeeded,
                each.failed,
                _latency(each.latency.p50),
                _latency(each.latency.p95),
            )
            for each in self.agents
        )
        return table(("agent", "calls", "succeeded", "failed", "p50", "p95"), rows)


def _latency(value: Duration) -> str:
    return duration(value.ToTimedelta())


def _quantile(ordered: Sequence[timedelta], share: float) -> str:
    return duration(ordered[round(share * (len(ordered) - 1))]) if ordered else ""

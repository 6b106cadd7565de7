"""How measurements look to people: tables, and courses of time as sparklines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta

from rich.console import Group, RenderableType
from rich.table import Table

from brikk.monitoring.v1 import health_pb2, query_pb2, report_pb2
from brikk.monitoring.v1 import performance_pb2 as pb
from brikk_cli.render import Cell, duration, moment, money, plain, state, table

_BARS = "▁▂▃▄▅▆▇█"

Courses = Mapping[str, Sequence[float]]
"""What was counted step by step, by name."""


def sparkline(numbers: Sequence[float]) -> str:
    """A bar for each number, as high as its share of the highest; the lowest one for nothing."""
    highest = max(numbers, default=0)
    steps = len(_BARS) - 1
    return "".join(
        _BARS[round(each / highest * steps)] if highest else _BARS[0] for each in numbers
    )


def summary_view(summary: pb.CoordinationSummary, course: Sequence[float]) -> RenderableType:
    """What happened, a line per kind; beside it how much of it there was in the time before."""
    before = summary.previous if summary.HasField("previous") else None
    rows: list[tuple[Cell, ...]] = [
        (
            "executions",
            f"{summary.executions.started} started, {summary.executions.succeeded} succeeded,"
            f" {summary.executions.failed} failed, {summary.executions.cancelled} cancelled",
            _share(summary.success_ratio, summary.execution_latency.count),
            *_times(summary.execution_latency),
            str(before.executions.started) if before else "",
        ),
        (
            "steps",
            f"{summary.steps.succeeded} succeeded, {summary.steps.failed} failed,"
            f" {summary.steps.skipped} skipped, {summary.steps.retried} repeated",
            _ratio(summary.steps.succeeded, summary.steps.failed),
            *_times(summary.step_latency),
            str(before.steps.succeeded + before.steps.failed) if before else "",
        ),
        (
            "calls",
            f"{summary.calls.succeeded} succeeded, {summary.calls.failed} failed,"
            f" of {summary.active_agents} agents{_used(summary.calls)}",
            _ratio(summary.calls.succeeded, summary.calls.failed),
            *_times(summary.call_latency),
            str(before.calls.succeeded + before.calls.failed) if before else "",
        ),
        (
            "agents",
            f"{summary.agents.registered} registered, {summary.agents.deregistered} deregistered,"
            f" {summary.agents.expired} expired, {summary.agents.drained} drained,"
            f" {summary.agents.in_maintenance} in maintenance, {summary.agents.resumed} resumed",
            *("", "", "", ""),
            str(before.agents.registered) if before else "",
        ),
        (
            "deliveries",
            f"{summary.deliveries.succeeded} succeeded, {summary.deliveries.failed} failed,"
            f" {summary.deliveries.retried} repeated",
            _ratio(summary.deliveries.succeeded, summary.deliveries.failed),
            *("", "", ""),
            str(before.deliveries.succeeded + before.deliveries.failed) if before else "",
        ),
    ]
    columns = ("", "what became of them", "success", "p50", "p95", "p99", "before")
    parts: list[RenderableType] = [_filled(columns, rows)]
    pace = f"{summary.executions_per_minute:.1f} executions a minute"
    parts.append(plain(f"{sparkline(course)}  {pace}"))
    if summary.errors:
        parts.append(plain(f"failures: {_errors(summary.errors)}"))
    return Group(*parts)


def agents_table(agents: Iterable[pb.AgentPerformance], courses: Courses) -> Table:
    """A line per agent."""
    rows = [
        (
            each.agent,
            each.calls,
            sparkline(courses.get(each.agent.rpartition("/")[2], ())),
            f"{each.calls_per_minute:.1f}",
            _share(each.success_ratio, each.calls),
            *_times(each.latency),
            str(each.tokens or ""),
            money(each.cost_micros),
            _errors(each.errors),
            _before(each.previous) if each.HasField("previous") else "",
        )
        for each in agents
    ]
    columns = ("agent", "calls", "", "a minute", "success", "p50", "p95", "p99")
    return _filled((*columns, "tokens", "cost", "failures", "before"), rows)


def workflows_view(workflows: Sequence[pb.WorkflowPerformance], courses: Courses) -> RenderableType:
    """A line per workflow, and a line per step where they are told."""
    rows = [
        (
            each.workflow,
            each.executions.started,
            sparkline(courses.get(each.workflow.rpartition("/")[2], ())),
            f"{each.executions_per_minute:.1f}",
            _share(each.success_ratio, each.latency.count),
            *_times(each.latency),
            _errors(each.errors),
            _before(each.previous) if each.HasField("previous") else "",
        )
        for each in workflows
    ]
    columns = ("workflow", "started", "", "ended a minute", "success", "p50", "p95", "p99")
    parts: list[RenderableType] = [_filled((*columns, "failures", "before"), rows)]
    steps = [
        (
            step.step,
            step.counts.succeeded,
            step.counts.failed,
            step.counts.skipped,
            step.counts.retried,
            *_times(step.latency),
            _errors(step.errors),
        )
        for each in workflows
        for step in each.steps
    ]
    if steps:
        counts = ("step", "succeeded", "failed", "skipped", "repeated")
        parts += [plain(""), _filled((*counts, "p50", "p95", "p99", "failures"), steps)]
    return Group(*parts)


def query_table(answer: query_pb2.QueryMetricsResponse, dimensions: Sequence[str]) -> Table:
    """A line per group; where there are points, the course of the first aggregation."""
    names = [aggregation_name(each) for each in answer.aggregations]
    rows = [
        (
            *(group.dimensions[name] for name in dimensions),
            *(number(value) for value in group.total.values),
            sparkline([point.values.values[0] for point in group.points]),
            _errors(group.total.errors),
            ", ".join(number(value) for value in group.previous.values),
        )
        for group in answer.groups
    ]
    return _filled((*dimensions, *names, "", "failures", "before"), rows)


def reports_table(reports: Iterable[report_pb2.Report]) -> Table:
    """A line per report."""
    rows = [
        (
            each.name,
            report_pb2.Report.Kind.Name(each.kind).removeprefix("KIND_").lower(),
            str(each.window.ToTimedelta()).removesuffix(", 0:00:00"),
            state(report_pb2.Report.State.Name(each.state)),
            moment(each.create_time),
        )
        for each in reports
    ]
    return table(("report", "about", "window", "state", "ordered"), rows)


def health_view(health: health_pb2.SystemHealth) -> RenderableType:
    """A line per service."""
    rows = [
        (
            each.service,
            state(health_pb2.ServiceHealth.State.Name(each.state)),
            f"{each.cpu_percent:.1f} %",
            f"{each.memory_mib:.0f} MiB",
            f"{each.open_files:.0f}",
            duration(each.loop_lag_p99.ToTimedelta()),
            f"{each.calls}, {each.failed_calls} failed",
            ", ".join(
                f"{need.dependency} {need.success_ratio:.1%}"
                f" p95 {duration(need.latency_p95.ToTimedelta())}"
                for need in each.dependencies
            ),
            moment(each.last_report_time),
        )
        for each in health.services
    ]
    columns = ("service", "state", "processor", "memory", "files", "loop lag", "calls", "needs")
    return table((*columns, "last report"), rows)


def aggregation_name(aggregation: query_pb2.Aggregation.ValueType) -> str:
    """What an aggregation is called on the command line."""
    name = query_pb2.Aggregation.Name(aggregation).removeprefix("AGGREGATION_")
    return name.lower().replace("_", "-")


def number(value: float) -> str:
    """A number as short as it may be."""
    return f"{value:.0f}" if value == round(value) else f"{value:.4g}"


def _filled(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> Table:
    """A table without the columns that have nothing to say."""
    used = [at for at in range(len(columns)) if not rows or any(row[at] != "" for row in rows)]
    return table([columns[at] for at in used], [[row[at] for at in used] for row in rows])


def _times(latency: pb.Latency) -> tuple[str, str, str]:
    if not latency.count:
        return ("", "", "")
    p50, p95, p99 = (each.ToTimedelta() for each in (latency.p50, latency.p95, latency.p99))
    return (duration(p50), duration(p95), duration(p99))


def _share(ratio: float, of: int) -> str:
    return f"{ratio:.1%}" if of else ""


def _ratio(succeeded: int, failed: int) -> str:
    ended = succeeded + failed
    return _share(succeeded / ended if ended else 0, ended)


def _used(calls: pb.CallCounts) -> str:
    tokens = f", {calls.tokens} tokens" if calls.tokens else ""
    return tokens + (f", cost {money(calls.cost_micros)}" if calls.cost_micros else "")


def _before(previous: pb.PreviousPerformance) -> str:
    if not previous.count:
        return "none"
    p95: timedelta = previous.latency.p95.ToTimedelta()
    return f"{previous.count}, {previous.success_ratio:.1%}, p95 {duration(p95)}"


def _errors(errors: Mapping[str, int]) -> str:
    ranked = sorted(errors.items(), key=lambda each: (-each[1], each[0]))
    return ", ".join(f"{count} {reason}" for reason, count in ranked)

"""What the engine shows of its commits, of its choices and of what it knows."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry

from brikk_shared.selection import Policy
from brikk_workflow.domain.decision import Announcement
from brikk_workflow.domain.payload import Json
from brikk_workflow.domain.state import ExecutionState
from brikk_workflow.runtime.metrics import Metrics
from brikk_workflow.store.transitions import Changes
from support.directories import Setting

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NOTHING = Changes(
    execution_id="a",
    state=ExecutionState(sequence=1, started_at=NOW, deadline=NOW),
    owner=None,
    wake_at=None,
    output=None,
    outputs={},
    dropped=(),
    history=(),
    organization="acme",
    traceparent="",
    announcements=(),
    time=NOW,
)


def announcement(kind: str, **data: Json) -> Announcement:
    return Announcement(sequence=1, type=kind, data=data)


async def test_choices_and_knowledge_are_shown() -> None:
    registry = CollectorRegistry()
    metrics, setting = Metrics(registry), Setting()
    metrics.observe(setting.watch, setting.breakers)
    metrics.chosen(Policy.RANDOM)

    def shown(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"brikk_workflow_{name}", labels)

    assert shown("agent_choices_total", policy="random") == 1
    assert shown("agent_choices_total", policy="best") == 0
    await setting.offer({"t": ["a", "b"]})
    await setting.choose()
    assert shown("candidates") == 2
    assert shown("discovery_watches", state="live") == 0
    assert shown("discovery_watches", state="away") == 1
    async with setting.watching():
        await setting.until_live()
        assert shown("discovery_watches", state="live") == 1
        assert shown("discovery_watches", state="away") == 0


def test_commits_are_counted_by_what_they_announce() -> None:
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    told = [
        announcement("execution.started"),
        announcement("step.succeeded", duration_ms=2000),
        announcement("step.skipped"),
        announcement("custom.execution.succeeded"),
        announcement("execution.terminated", duration_ms=3000),
    ]
    applied = [replace(NOTHING, announcements=told), NOTHING]
    metrics.committed(3, applied)

    def shown(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"brikk_workflow_{name}", labels)

    assert shown("transitions_total") == 2
    assert shown("commit_batch_size_sum") == 3
    states = ("started", "succeeded", "failed", "cancelled", "terminated")
    assert [shown("executions_total", state=each) for each in states] == [1, 0, 0, 0, 1]
    assert shown("step_seconds_sum", state="succeeded") == 2
    assert shown("step_seconds_count", state="failed") == 0

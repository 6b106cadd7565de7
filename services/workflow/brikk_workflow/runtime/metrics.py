"""What the engine counts for Prometheus."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import cast

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from brikk_shared.selection import Policy
from brikk_workflow.clients.breakers import Breakers
from brikk_workflow.clients.watch import Watch
from brikk_workflow.store.transitions import Changes

_STEP_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 3600, 86400)


class Metrics:
    """`brikk_workflow_*`; no organisation, workflow or agent is ever a label."""

    def __init__(self, registry: CollectorRegistry) -> None:
        executions = Counter(
            "brikk_workflow_executions",
            "Executions begun, and ended by how: succeeded, failed, cancelled, terminated.",
            ["state"],
            registry=registry,
        )
        states = ("started", "succeeded", "failed", "cancelled", "terminated")
        self._executions = {f"execution.{state}": executions.labels(state) for state in states}
        step_seconds = Histogram(
            "brikk_workflow_step_seconds",
            "From the first attempt of a step to its end, by how it ended: succeeded, failed.",
            ["state"],
            buckets=_STEP_SECONDS,
            registry=registry,
        )
        self._step_seconds = {
            f"step.{state}": step_seconds.labels(state) for state in ("succeeded", "failed")
        }
        self._transitions = Counter(
            "brikk_workflow_transitions",
            "Transitions of executions that were committed.",
            registry=registry,
        )
        calls = Counter(
            "brikk_workflow_agent_calls",
            "Calls to agents, by result.",
            ["result"],
            registry=registry,
        )
        # Looked up once: by its label, a counter costs ten times as much.
        self._succeeded, self._failed = calls.labels("succeeded"), calls.labels("failed")
        self._call_seconds = Histogram(
            "brikk_workflow_agent_call_seconds", "How long agents took.", registry=registry
        )
        self.choices = Counter(
            "brikk_workflow_agent_choices",
            "Agents chosen for calls, by policy.",
            ["policy"],
            registry=registry,
        )
        self._chosen = {policy: self.choices.labels(policy) for policy in Policy}
        self.watches = Gauge(
            "brikk_workflow_discovery_watches",
            "Organisations whose agents are watched, by whether the watch is live.",
            ["state"],
            registry=registry,
        )
        self.candidates = Gauge(
            "brikk_workflow_candidates",
            "Agents known here, each counted once for each of its capabilities.",
            registry=registry,
        )
        self.breakers = Gauge(
            "brikk_workflow_breakers_open",
            "Endpoints of agents that are not called because nobody could reach them.",
            registry=registry,
        )
        self.claims = Counter(
            "brikk_workflow_claims",
            "Executions taken in by whose they were: nobody's, or of a replica whose lease ended.",
            ["owner"],
            registry=registry,
        )
        for owner in ("nobody", "dead"):
            self.claims.labels(owner)
        self.oldest_runnable = Gauge(
            "brikk_workflow_oldest_runnable_seconds",
            "For how long the execution that waits longest for a replica has, of all replicas.",
            registry=registry,
        )
        self.admissions = Counter(
            "brikk_workflow_admissions",
            "Executions that had to wait for a place, and those that got one.",
            ["step"],
            registry=registry,
        )
        for step in ("queued", "admitted"):
            self.admissions.labels(step)
        self.quarantined = Counter(
            "brikk_workflow_executions_quarantined",
            "Times that executions were suspended, by a defect or an outcome nobody knows.",
            registry=registry,
        )
        self.unreadable = Counter(
            "brikk_workflow_executions_unreadable",
            "Executions set aside because this program cannot read them, or has no workflow for.",
            registry=registry,
        )
        self.removed = Counter(
            "brikk_workflow_executions_removed",
            "Executions that were removed, their time being over.",
            registry=registry,
        )
        self.ticks = Counter(
            "brikk_workflow_schedule_ticks",
            "Ticks of schedules by what they came to: run, skipped, missed; and failed, of runs"
            " whose execution could not be started.",
            ["outcome"],
            registry=registry,
        )
        for outcome in ("run", "skipped", "missed", "failed"):
            self.ticks.labels(outcome)
        self.held = Gauge(
            "brikk_workflow_executions_held", "Executions in memory here.", registry=registry
        )
        self._batch_size = Histogram(
            "brikk_workflow_commit_batch_size",
            "Transitions per commit.",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256),
            registry=registry,
        )

    def committed(self, size: int, applied: Sequence[Changes]) -> None:
        """Counts a commit: of so many transitions, and what those announce that were applied."""
        self._batch_size.observe(size)
        self._transitions.inc(len(applied))
        for changes in applied:
            for each in changes.announcements:
                if each.type in self._executions:
                    self._executions[each.type].inc()
                elif each.type in self._step_seconds:
                    duration_ms = cast("float", each.data["duration_ms"])
                    self._step_seconds[each.type].observe(duration_ms / 1000)

    def called(self, latency: timedelta, *, succeeded: bool) -> None:
        """Counts a call that was answered or failed."""
        (self._succeeded if succeeded else self._failed).inc()
        self._call_seconds.observe(latency.total_seconds())

    def chosen(self, policy: Policy) -> None:
        """Counts a choice."""
        self._chosen[policy].inc()

    def observe(self, watch: Watch, breakers: Breakers) -> None:
        """Shows what a watch and the breakers know whenever it is asked for."""
        self.breakers.set_function(lambda: breakers.open)
        self.watches.labels("live").set_function(lambda: watch.live)
        self.watches.labels("away").set_function(lambda: watch.organizations - watch.live)
        self.candidates.set_function(lambda: watch.candidates)

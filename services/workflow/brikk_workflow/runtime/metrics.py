"""What the engine counts for Prometheus."""

from __future__ import annotations

from datetime import timedelta

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from brikk_shared.selection import Policy
from brikk_workflow.clients.breakers import Breakers
from brikk_workflow.clients.watch import Watch


class Metrics:
    """`brikk_workflow_*`; no organisation, workflow or agent is ever a label."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.executions = Counter(
            "brikk_workflow_executions",
            "Executions by what they came to: started, succeeded, failed, cancelled.",
            ["state"],
            registry=registry,
        )
        for state in ("started", "succeeded", "failed", "cancelled"):
            self.executions.labels(state)
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
            "Executions taken over from nobody or from another replica.",
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
        self.batch_size = Histogram(
            "brikk_workflow_commit_batch_size",
            "Transitions per commit.",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256),
            registry=registry,
        )

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

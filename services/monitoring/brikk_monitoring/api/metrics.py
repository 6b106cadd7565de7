"""What the service tells Prometheus about the events it takes."""

from __future__ import annotations

from collections import Counter as TallyOf
from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram

from brikk_monitoring.domain.judgement import Judgement, Outcome
from brikk_shared.errors import Reason


class IngestionMetrics:
    """The instruments; every label is known beforehand."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.ingested = Counter(
            "brikk_monitoring_ingested_total",
            "Events received, by what became of them.",
            ["result"],
            registry=registry,
        )
        self.rejected = Counter(
            "brikk_monitoring_rejected_total",
            "Events refused for good and kept in the dead letters, by reason.",
            ["reason"],
            registry=registry,
        )
        self.gaps = Counter(
            "brikk_inbox_gaps_total",
            "Batches of events that began after the position expected next.",
            registry=registry,
        )
        self.apply_seconds = Histogram(
            "brikk_monitoring_apply_seconds",
            "From a judged batch to its effect in Redis.",
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
            registry=registry,
        )
        self._count_known()

    def count(self, judgements: Sequence[Judgement], expired: int | None) -> None:
        """Count a batch of which so many came too late; None when it had come before."""
        if expired is None:
            self.ingested.labels(Outcome.REPEATED).inc(len(judgements))
            return
        outcomes = TallyOf(judgement.outcome for judgement in judgements)
        outcomes[Outcome.COUNTED] -= expired
        outcomes[Outcome.EXPIRED] += expired
        for outcome, count in outcomes.items():
            self.ingested.labels(outcome).inc(count)
        for judgement in judgements:
            if judgement.refusal is not None:
                self.rejected.labels(judgement.refusal.error.reason).inc()

    def _count_known(self) -> None:
        for outcome in Outcome:
            self.ingested.labels(outcome)
        for reason in (Reason.INVALID_FIELD, Reason.PAYLOAD_TOO_LARGE, Reason.EVENT_IN_FUTURE):
            self.rejected.labels(reason)

"""Reports: everything of a kind over a window, and how it is written down."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from brikk_monitoring.domain.measurement import Status, Sums
from brikk_monitoring.domain.question import Aggregation, Group, aggregate
from brikk_monitoring.domain.series import Dimension, Metric

_AGGREGATIONS: Final = tuple(Aggregation)
_STATUSES: Final = (Status.SUCCEEDED, Status.FAILED, Status.CANCELLED, Status.RETRIED)
_FORMULAS: Final = ("=", "+", "-", "@")


class Kind(StrEnum):
    """What a report is about."""

    AGENTS = "agents"
    WORKFLOWS = "workflows"
    STEPS = "steps"
    CAPABILITIES = "capabilities"

    @property
    def subject(self) -> tuple[Metric, Group]:
        """The metric, and the group of its series."""
        return _SUBJECTS[self]


_SUBJECTS: Final[Mapping[Kind, tuple[Metric, Group]]] = {
    Kind.AGENTS: (Metric.CALLS, (Dimension.AGENT,)),
    Kind.WORKFLOWS: (Metric.EXECUTIONS, (Dimension.WORKFLOW,)),
    Kind.STEPS: (Metric.STEPS, (Dimension.WORKFLOW, Dimension.STEP)),
    Kind.CAPABILITIES: (Metric.CALLS, (Dimension.CAPABILITY,)),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """A report; `content` is None until it is made."""

    id: str
    kind: Kind
    window: timedelta
    create_time: datetime
    content: str | None = None


def write(kind: Kind, rows: Sequence[tuple[Mapping[str, str], Sums]], length: timedelta) -> str:
    """Write a report as CSV."""
    _, group = kind.subject
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow([*group, *_AGGREGATIONS, *_STATUSES, "errors"])
    for dimensions, sums in rows:
        errors = sorted(sums.errors.items(), key=lambda each: (-each[1], each[0]))
        table.writerow(
            [
                *(harmless(dimensions[name]) for name in group),
                *(aggregate(each, sums, length) for each in _AGGREGATIONS),
                *(sums.of(status) for status in _STATUSES),
                " ".join(f"{reason}={count}" for reason, count in errors),
            ]
        )
    return text.getvalue()


def harmless(value: str) -> str:
    """Return as text what spreadsheets would take for a formula; strangers name capabilities."""
    return f"'{value}" if value.startswith(_FORMULAS) and value != "-" else value

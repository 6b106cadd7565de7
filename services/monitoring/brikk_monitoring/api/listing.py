"""Lists of agents and workflows, busiest first: what is listed, a page of it, and its cursor."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from brikk.monitoring.v1 import performance_pb2
from brikk_monitoring.api.quantities import latency_message
from brikk_monitoring.domain.measurement import Sums
from brikk_monitoring.domain.question import ended, success_ratio
from brikk_monitoring.domain.series import Dimension, Metric, parse_series, series_name
from brikk_monitoring.domain.window import Window
from brikk_shared.errors import FieldViolation, InvalidArgument, Reason

_CURSOR: Final = re.compile(r"([0-9]{1,9}):([0-9]{1,18}):((?:agents|workflows)/[a-z0-9-]+)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """What is listed: the series of a dimension of a metric, as names of a collection."""

    collection: str
    metric: Metric
    dimension: Dimension

    def name_of(self, series: str) -> str:
        """Return the name that a series counts."""
        return self.collection + parse_series(series).dimensions[self.dimension]

    def series_of(self, name: str) -> str:
        """Return the series that counts a name."""
        value = name.removeprefix(self.collection)
        return series_name(self.metric, **{self.dimension: value})


AGENTS: Final = Kind(collection="agents/", metric=Metric.CALLS, dimension=Dimension.AGENT)
WORKFLOWS: Final = Kind(
    collection="workflows/", metric=Metric.EXECUTIONS, dimension=Dimension.WORKFLOW
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Listing:
    """A page: what each name counted in the window, and in the one before if asked."""

    window: Window
    length: timedelta
    sums: Mapping[str, Sums]
    previous: Mapping[str, Sums]
    next_page_token: str

    def before(self, name: str) -> performance_pb2.PreviousPerformance | None:
        """Return how it was in the window before, if that was asked."""
        sums = self.previous.get(name)
        if sums is None:
            return None
        return performance_pb2.PreviousPerformance(
            count=ended(sums),
            success_ratio=success_ratio(sums),
            latency=latency_message(sums.latency()),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Cursor:
    """The last name of a page, in the window that ends in a bucket."""

    bucket: int
    count: int
    name: str

    def __str__(self) -> str:
        return f"{self.bucket}:{self.count}:{self.name}"

    @staticmethod
    def parse(text: str) -> Cursor:
        """Read one. A forged one only chooses where in the caller's own list to begin."""
        match = _CURSOR.fullmatch(text)
        if match is None:
            description = "was not made by this method"
            raise InvalidArgument(
                Reason.INVALID_PAGE_TOKEN,
                f"page_token {description}",
                metadata={"field": "page_token"},
                violations=[FieldViolation("page_token", description)],
            )
        return Cursor(bucket=int(match[1]), count=int(match[2]), name=match[3])

    def precedes(self, name: str, count: int) -> bool:
        """Whether a name comes later in the list."""
        return (-self.count, self.name) < (-count, name)

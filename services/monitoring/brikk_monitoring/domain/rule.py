"""What an alert rule says: what to ask, which answers alert, and how patient to be."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Final, TypeAlias
from zlib import crc32

from brikk_monitoring.domain.question import Aggregation, Group, Question
from brikk_monitoring.domain.series import Dimension
from brikk_shared.errors import invalid_field

MOST_GROUPS: Final = 100
SHARDS: Final = 4
"""Each is evaluated by one replica at a time."""

_NAME: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]{0,63}")
_MICROSECOND: Final = timedelta(microseconds=1)
_EPOCH_HASH: Final = 2**32


class Severity(IntEnum):
    """How much an alert matters; the numbers are those that are stored."""

    INFO = 1
    WARNING = 2
    CRITICAL = 3


class NoData(IntEnum):
    """What it means when nothing was observed; the numbers are those that are stored."""

    OK = 1
    ALERT = 2
    KEEP = 3


class Side(IntEnum):
    """On which side of a bound answers alert; the numbers are those that are stored."""

    ABOVE = 1
    BELOW = 2

    def beyond(self, value: float, bound: float) -> bool:
        """Tell whether a value lies on this side of a bound."""
        return value > bound if self is Side.ABOVE else value < bound


@dataclass(frozen=True, kw_only=True, slots=True)
class Threshold:
    """Holds while the answer lies beyond a bound; once it has held, beyond `recovery`."""

    side: Side
    value: float
    recovery: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """Holds while the answer has changed by more than a share of what it was before."""

    side: Side
    ratio: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Absence:
    """Holds while nothing is observed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BurnRate:
    """Holds while failures use up the budget of an objective too fast."""

    objective: float


Condition: TypeAlias = Threshold | Change | Absence | BurnRate


@dataclass(frozen=True, kw_only=True, slots=True)
class Inquiry:
    """What is asked each time, about the time that ends then."""

    metric: str
    aggregation: Aggregation = Aggregation.COUNT
    window: timedelta = timedelta(minutes=5)
    group_by: Group = ()
    filters: Mapping[Dimension, str] = field(default_factory=dict)
    error_reason: str = ""
    """Counts failures with this reason, of any with `*`, in place of the aggregation."""

    def question(self, end: datetime) -> Question:
        """Return it as it is asked at a time."""
        return Question(
            metric=self.metric,
            start=end - self.window,
            end=end,
            group_by=self.group_by,
            filters=self.filters,
            top=MOST_GROUPS,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Definition:
    """What people say of a rule, and may change."""

    inquiry: Inquiry
    condition: Condition
    description: str = ""
    interval: timedelta = timedelta(minutes=1)
    pending_for: timedelta = timedelta(0)
    keep_firing_for: timedelta = timedelta(0)
    no_data: NoData = NoData.KEEP
    severity: Severity = Severity.WARNING
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    disabled: bool = False

    def check(self) -> None:
        """Make sure that it can be evaluated.

        Raises:
            InvalidArgument: it cannot.
        """
        for kind, names in (("labels", self.labels), ("annotations", self.annotations)):
            for name in names:
                if _NAME.fullmatch(name) is None:
                    raise invalid_field(
                        f"alert_rule.{kind}", f"{name!r} does not match {_NAME.pattern}"
                    )
        _ = self.inquiry.question(datetime.max.replace(tzinfo=UTC)).group
        condition = self.condition
        if (
            isinstance(condition, Threshold)
            and condition.recovery is not None
            and condition.side.beyond(condition.recovery, condition.value)
        ):
            raise invalid_field(
                "alert_rule.threshold.recovery", "must not lie on the side that alerts"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """A rule in one of its lives."""

    uid: str
    organization: str
    id: str
    definition: Definition
    revision: int = 0
    create_time: datetime
    update_time: datetime

    @property
    def etag(self) -> str:
        """Changes with whatever people change."""
        return f"r{self.revision}"

    @property
    def shard(self) -> int:
        """Which of the shards it is evaluated in."""
        return crc32(self.uid.encode()) % SHARDS

    def updated(self, definition: Definition, now: datetime) -> Rule:
        """Return it as it is with another definition."""
        if definition == self.definition:
            return self
        return replace(self, definition=definition, revision=self.revision + 1, update_time=now)

    def due_after(self, moment: datetime) -> datetime:
        """Say when it is next evaluated: rules of one interval are spread over it, each steadily.

        The moments do not depend on when the rule was made or evaluated last, so they survive
        restarts and clocks that jump.
        """
        interval = self.definition.interval // _MICROSECOND
        offset = crc32(self.uid[::-1].encode()) * interval // _EPOCH_HASH
        now = round(moment.timestamp() * 1_000_000)
        return moment + (interval - (now - offset) % interval) * _MICROSECOND

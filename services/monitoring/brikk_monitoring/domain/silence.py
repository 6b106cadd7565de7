"""A time in which nobody is told of some alerts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

from brikk_monitoring.domain.matcher import Matchers, check_matchers, match_all
from brikk_shared.errors import invalid_field


class SilenceState(IntEnum):
    """Where a silence stands; the numbers are those of the contract."""

    PENDING = 1
    ACTIVE = 2
    EXPIRED = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Silence:
    """What people say of a silence, and may change."""

    matchers: Matchers
    start_time: datetime
    end_time: datetime
    comment: str = ""
    creator: str = ""

    def check(self) -> None:
        """Make sure that it silences something, and not everything.

        Raises:
            InvalidArgument: it does not.
        """
        check_matchers("silence.matchers", self.matchers)
        if match_all(self.matchers, {}):
            raise invalid_field(
                "silence.matchers", "must not all match an alert that lacks their labels"
            )
        if self.end_time <= self.start_time:
            raise invalid_field("silence.end_time", "must be later than the begin")

    def state(self, now: datetime) -> SilenceState:
        """Tell where it stands."""
        if now < self.start_time:
            return SilenceState.PENDING
        return SilenceState.ACTIVE if now < self.end_time else SilenceState.EXPIRED

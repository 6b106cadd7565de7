"""Times that come again, in which nobody is told of some alerts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from brikk_monitoring.domain.matcher import Matchers, check_matchers
from brikk_shared.calendar import Cron


@dataclass(frozen=True, kw_only=True, slots=True)
class MaintenanceWindow:
    """What people say of a maintenance window, and may change."""

    schedule: Cron
    duration: timedelta
    """Time that passes, whatever the clocks on the wall say meanwhile."""
    matchers: Matchers = ()
    comment: str = ""

    def check(self) -> None:
        """Make sure that its regular expressions are such.

        Raises:
            InvalidArgument: one is not.
        """
        check_matchers("maintenance_window.matchers", self.matchers)

    def active(self, now: datetime) -> bool:
        """Tell whether one lasts."""
        begin = self.schedule.after(now - self.duration)
        return begin is not None and begin <= now

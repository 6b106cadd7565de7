"""Points at which a test lets the process die, to prove that nothing is lost or done twice."""

from __future__ import annotations

import os
import signal
from typing import Final

POINTS: Final = frozenset(
    {
        "commit.before",  # a group commit has written its batch and not yet committed it
        "commit.after",  # it has committed, and nobody has been told
        "outbox.published",  # a receiver has taken a batch that still lies in the outbox
        "archive.written",  # a file is durable whose executions still lie in the store
        "schedule.decided",  # ticks of schedules are decided, and their executions not started
        "schedule.started",  # they are started, and nobody has noted that down
    }
)

_armed: dict[str, int] = {}


def arm(fault: str) -> None:
    """Make the process kill itself when it reaches a point. Called once, at start.

    Args:
        fault: the point, or for a later time than the first `point:3`.

    Raises:
        ValueError: there is no such point, or no such time.
    """
    point, _, time = fault.partition(":")
    if point not in POINTS:
        raise ValueError(f"no fault point is called {point!r}; there are {sorted(POINTS)}")
    _armed[point] = int(time or 1)


def reach(point: str) -> None:
    """Die here, as by kill -9, if this point is armed and its time has come; otherwise go on."""
    if point in _armed:
        _armed[point] -= 1
        if _armed[point] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

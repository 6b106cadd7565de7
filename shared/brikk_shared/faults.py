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
    }
)

_armed: list[str] = []


def arm(name: str) -> None:
    """Make the process kill itself when it reaches this point. Called once, at start.

    Raises:
        ValueError: there is no such point.
    """
    if name not in POINTS:
        raise ValueError(f"no fault point is called {name!r}; there are {sorted(POINTS)}")
    _armed.append(name)


def reach(name: str) -> None:
    """Die here, as by kill -9, if this point is armed; otherwise go on."""
    if name in _armed:
        os.kill(os.getpid(), signal.SIGKILL)

"""Finds out which event it is that keeps an execution from going on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from brikk_shared.errors import Reason
from brikk_workflow.domain.failure import Failure

Posted = TypeVar("Posted")

ATTEMPTS = 3
"""How often a transition is tried before what it folds is blamed for its failing."""


class Doubts:
    """What is folded together is tried together, then each event by itself, so that one that
    cannot be folded takes no other with it.
    """

    def __init__(self) -> None:
        self._failures = 0
        self._singly = False

    def take(self, events: Sequence[Posted]) -> Sequence[Posted]:
        """Returns which of the events to fold next, from the first on."""
        return events[:1] if self._singly else events

    def settle(self, *, left: bool) -> None:
        """What was taken was folded; `left` tells whether more was posted."""
        self._failures = 0
        self._singly = self._singly and left

    def blame(self, taken: Sequence[Posted]) -> bool:
        """What was taken could not be folded; returns whether to give it up."""
        self._failures += 1
        if self._failures < ATTEMPTS:
            return False
        self._failures = 0
        if len(taken) == 1:
            return True
        self._singly = True
        return False


def defect(error: Exception) -> Failure:
    """Returns why an execution is suspended that met this."""
    return Failure(
        code="INTERNAL",
        reason=Reason.INTERNAL,
        message=f"A transition keeps failing by a defect ({type(error).__name__}), see the log",
    )

"""What can be asked of an execution, and the event that it becomes where the execution is held."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from brikk_workflow.domain.decision import (
    CancelRequested,
    Event,
    PauseRequested,
    ResumeRequested,
    SignalReceived,
    SkipRequested,
    TerminateRequested,
)
from brikk_workflow.domain.payload import Json


class WishKind(StrEnum):
    """What is asked for; but SIGNAL see `brikk.workflow.v1.WorkflowExecution.Transition`."""

    CANCEL = "cancel"
    PAUSE = "pause"
    RESUME = "resume"
    TERMINATE = "terminate"
    SKIP = "skip"
    SIGNAL = "signal"


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """Something that was asked of an execution, in the order it was recorded."""

    inbox_seq: int
    kind: WishKind
    attributes: Mapping[str, Json]

    def event(self) -> Event:
        """Return what the decider is told."""
        reason = str(self.attributes.get("reason", ""))
        match self.kind:
            case WishKind.CANCEL:
                undo = self.attributes.get("compensate") is True
                return CancelRequested(reason=reason, compensate=undo)
            case WishKind.PAUSE:
                return PauseRequested(reason=reason)
            case WishKind.RESUME:
                return ResumeRequested()
            case WishKind.TERMINATE:
                return TerminateRequested(reason=reason)
            case WishKind.SKIP:
                return SkipRequested(
                    step_id=str(self.attributes["step"]),
                    output=self.attributes.get("output"),
                    by=str(self.attributes["by"]),
                    reason=reason,
                )
            case WishKind.SIGNAL:
                name = str(self.attributes["name"])
                return SignalReceived(name=name, data=self.attributes.get("data"))

"""The colours of the states that steps are in, in every picture."""

from __future__ import annotations

from collections.abc import Mapping

from brikk_workflow.domain.state import StepStatus

COLOURS: Mapping[StepStatus, str] = {
    StepStatus.WAITING: "#cfe2ff",
    StepStatus.RUNNING: "#9ec5fe",
    StepStatus.BACKING_OFF: "#ffe69c",
    StepStatus.UNKNOWN: "#f1aeb5",
    StepStatus.SUCCEEDED: "#a3cfbb",
    StepStatus.FAILED: "#f1aeb5",
    StepStatus.SKIPPED: "#e9ecef",
    StepStatus.CANCELLED: "#ffe69c",
}

"""What is written into the history, and announced to other services, for each turn of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from brikk_workflow.domain.compiled import (
    CompiledCall,
    CompiledEmit,
    CompiledSet,
    CompiledSeveral,
    CompiledSwitch,
    CompiledWorkflow,
)
from brikk_workflow.domain.decision import Announcement, HistoryEntry
from brikk_workflow.domain.failure import Failure
from brikk_workflow.domain.payload import Json
from brikk_workflow.domain.state import ExecutionState, ExecutionStatus, StepState
from brikk_workflow.domain.usage import NO_USAGE, Usage

QUIET = (CompiledSet, CompiledSwitch, CompiledEmit)
"""Steps that take no time of their own: loops of them would flood those who are told."""


class Journal:
    """The entries and announcements of one decision; the state's `sequence` is where they go on."""

    def __init__(self, workflow: CompiledWorkflow, state: ExecutionState, now: datetime) -> None:
        self.entries: list[HistoryEntry] = []
        self.announcements: list[Announcement] = []
        self.sequence = state.sequence
        self._workflow = workflow
        self._started_at = state.started_at
        self._now = now

    def started(self, retry_of: str = "", from_step: str = "") -> None:
        """Record the beginning of the execution, which may retry another one, from a step on."""
        facts = self._version()
        if retry_of:
            facts["retry_of"] = f"executions/{retry_of}"
        if from_step:
            facts["from_step"] = from_step
        self._record("execution.started", "", facts)
        self._announce("execution.started", facts)

    def queued(self) -> None:
        """Record that there was no place for the execution."""
        self._record("execution.queued", "", {})

    def admitted(self) -> None:
        """Record that the execution got its place."""
        self._record("execution.admitted", "", {})

    def paused(self, reason: str) -> None:
        """Record that somebody paused the execution."""
        facts = self._version() | {"reason": reason}
        self._record("execution.paused", "", facts)
        self._announce("execution.paused", facts)

    def quarantined(self, failure: Failure) -> None:
        """Record why the execution stands still."""
        facts = self._version() | _why(failure) | _step(failure)
        self._record("execution.quarantined", "", facts | _code(failure))
        self._announce("execution.quarantined", facts)

    def resumed(self, held: timedelta) -> None:
        """Record that the execution goes on."""
        facts = self._version() | {"held_ms": _milliseconds(held)}
        self._record("execution.resumed", "", facts)
        self._announce("execution.resumed", facts)

    def compensating(self, status: ExecutionStatus, failure: Failure) -> None:
        """Record that the execution is about to end, once what it did is undone."""
        self._record("execution.compensating", "", {"state": status.value} | _why(failure))

    def signalled(self, name: str, step_id: str) -> None:
        """Record that a signal came; without a step it is kept for one that is to begin."""
        self._record("execution.signalled", step_id, {"signal": name})

    def signal_refused(self, name: str) -> None:
        """Record that a signal came which could not be kept beside the others."""
        self._record("execution.signal_refused", "", {"signal": name})

    def adopted(self, step_id: str) -> None:
        """Record that a step was done by the execution that this one retries."""
        self._record("step.adopted", step_id, {})

    def step_started(self, step_id: str) -> None:
        """Record that a step began which takes its time and is no call."""
        self._record("step.started", step_id, {})

    def agents_found(self, step_id: str, agents: Sequence[str]) -> None:
        """Record whom a step calls, in the order of its legs."""
        self._record("step.agents_found", step_id, {"agents": list(agents)})

    def bids_ranked(self, step_id: str, bids: Sequence[Mapping[str, Json]]) -> None:
        """Record what was bid, the best first, with the scores."""
        self._record("step.bids_ranked", step_id, {"bids": list(bids)})

    def child_started(self, step_id: str, execution: str) -> None:
        """Record which execution a step runs."""
        self._record("step.child_started", step_id, {"execution": execution})

    def step_caught(self, step_id: str, failure: Failure, place: int) -> None:
        """Record that a step failed and one of its catches begins."""
        facts = _why(failure) | _code(failure) | {"catch": place}
        self._record("step.caught", step_id, facts)

    def emitted(self, step_id: str, kind: str, data: Mapping[str, Json]) -> None:
        """Record, and announce, an event of the workflow's own."""
        self._record("step.emitted", step_id, {"event": f"brikk.custom.{kind}.v1"})
        self._announce(f"custom.{kind}", data)

    def attempt_started(self, step_id: str, step: StepState) -> None:
        """Record that a call was ordered."""
        self._record("step.attempt_started", step_id, _attempt(step))

    def attempt_lost(self, step_id: str, step: StepState) -> None:
        """Record that nobody waits for a call any more."""
        self._record("step.attempt_lost", step_id, _attempt(step))

    def waiting(self, step_id: str, step: StepState) -> None:
        """Record that no agent was there for the call."""
        self._record("step.waiting", step_id, _attempt(step))

    def late_result(self, step_id: str, token: str) -> None:
        """Record a result that nobody waits for."""
        self._record("step.late_result", step_id, {"token": token})

    def attempt_failed(
        self,
        step_id: str,
        step: StepState,
        latency: timedelta,
        delay: timedelta | None,
        usage: Usage,
    ) -> None:
        """Record a failed attempt; with a delay it is followed by another one."""
        facts = _why(step.failure) | {"attempt": step.attempt, "agent": step.agent}
        facts["latency_ms"] = _milliseconds(latency)
        _add_usage(facts, usage)
        if delay is not None:
            facts["delay_ms"] = _milliseconds(delay)
        self._record("step.attempt_failed", step_id, facts | _code(step.failure))
        if delay is not None:
            self._announce("step.retrying", self._called(step_id) | facts)

    def step_succeeded(
        self,
        step_id: str,
        step: StepState,
        latency: timedelta = timedelta(),
        usage: Usage = NO_USAGE,
    ) -> None:
        """Record a success; others are told of those that took their time."""
        work = self._workflow.at(step_id).work
        if isinstance(work, QUIET):
            self._record("step.succeeded", step_id, {})
            return
        facts = self._summary(step, latency)
        _add_usage(facts, usage)
        self._record("step.succeeded", step_id, facts)
        told = self._called(step_id) | facts
        if isinstance(work, CompiledSeveral):  # the call of its agent was told of
            told["agent"] = ""
        self._announce("step.succeeded", told)

    def step_failed(self, step_id: str, step: StepState, latency: timedelta) -> None:
        """Record a failure for good."""
        facts = self._summary(step, latency) | _why(step.failure)
        self._record("step.failed", step_id, facts | _code(step.failure))
        self._announce("step.failed", self._called(step_id) | facts)

    def step_skipped(self, step_id: str, why: Mapping[str, Json]) -> None:
        """Record that a step is not done, or `why` somebody wanted that."""
        self._record("step.skipped", step_id, why)
        self._announce("step.skipped", {**self._named(step_id), **why})

    def step_cancelled(self, step_id: str) -> None:
        """Record that a step ended because nobody waits for it any more."""
        self._record("step.cancelled", step_id, {})
        self._announce("step.cancelled", self._named(step_id))

    def ended(self, status: ExecutionStatus, failure: Failure | None) -> None:
        """Record the end of the execution."""
        facts = self._version()
        facts["duration_ms"] = _milliseconds(self._now - self._started_at)
        if failure is not None and status is not ExecutionStatus.FAILED:
            facts["reason"] = failure.message
        elif failure is not None:
            facts |= _why(failure) | _step(failure)
        self._record(f"execution.{status}", "", facts | _code(failure))
        self._announce(f"execution.{status}", facts)

    def _record(self, kind: str, step_id: str, facts: Mapping[str, Json]) -> None:
        self.sequence += 1
        self.entries.append(
            HistoryEntry(
                sequence=self.sequence, type=kind, step_id=step_id, time=self._now, attributes=facts
            )
        )

    def _announce(self, kind: str, facts: Mapping[str, Json]) -> None:
        """Announce the newest entry: each entry has at most one announcement."""
        self.announcements.append(Announcement(sequence=self.sequence, type=kind, data=facts))

    def _version(self) -> dict[str, Json]:
        return {"workflow": self._workflow.definition.id, "version": self._workflow.version}

    def _named(self, step_id: str) -> dict[str, Json]:
        return {"workflow": self._workflow.definition.id, "step": step_id}

    def _called(self, step_id: str) -> dict[str, Json]:
        work = self._workflow.at(step_id).work
        named = self._named(step_id)
        if isinstance(work, CompiledCall):
            named["capability"] = work.kind.capability
        return named

    def _summary(self, step: StepState, latency: timedelta) -> dict[str, Json]:
        """Return what is told of a step that was called: `latency` is that of its last call."""
        return {
            "agent": step.agent,
            "attempts": step.attempt,
            "duration_ms": _milliseconds(self._now - (step.started_at or self._now)),
            "latency_ms": _milliseconds(latency),
        }


def _attempt(step: StepState) -> dict[str, Json]:
    return {"attempt": step.attempt, "token": step.token}


def _why(failure: Failure | None) -> dict[str, Json]:
    return {} if failure is None else {"reason": failure.reason.value, "message": failure.message}


def _step(failure: Failure) -> dict[str, Json]:
    """Return the step for which an execution failed or stands still, if it was one."""
    return {"step": failure.metadata["step"]} if "step" in failure.metadata else {}


def _add_usage(facts: dict[str, Json], usage: Usage) -> None:
    if usage is not NO_USAGE:
        facts["tokens"], facts["cost_micros"] = usage.tokens, usage.cost_micros


def _code(failure: Failure | None) -> dict[str, Json]:
    return {} if failure is None else {"code": failure.code}


def _milliseconds(duration: timedelta) -> float:
    return duration.total_seconds() * 1000

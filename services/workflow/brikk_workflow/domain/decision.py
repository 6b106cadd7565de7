"""What goes into a decision about an execution, and what comes out of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TypeAlias

from brikk_shared.selection import Policy
from brikk_workflow.domain.failure import Failure
from brikk_workflow.domain.payload import Json
from brikk_workflow.domain.state import ExecutionState, Inherited
from brikk_workflow.domain.usage import NO_USAGE, Usage


@dataclass(frozen=True, kw_only=True, slots=True)
class Values:
    """What expressions may read: the execution's id, its input, the outputs of steps.

    `outputs` hold by its path what a step put out, and what else is too large for the snapshot.
    """

    execution: str
    input: Mapping[str, Json]
    outputs: Mapping[str, Json]

    def after(self, decision: Decision) -> Values:
        """Return what may be read once a decision is kept."""
        kept = {
            path: output for path, output in self.outputs.items() if path not in decision.dropped
        }
        return replace(self, outputs=kept | dict(decision.outputs))


@dataclass(frozen=True, kw_only=True, slots=True)
class AttemptSucceeded:
    """A call returned an output, which `payload.check` has accepted, or another workflow did.

    `calls` are those that the execution of the other workflow made.
    """

    step_id: str
    token: str
    agent: str
    latency: timedelta
    output: Json
    usage: Usage = NO_USAGE
    calls: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class AttemptFailed:
    """A call failed, or ran into start_to_close or heartbeat (STEP_TIMEOUT, metadata `timeout`)."""

    step_id: str
    token: str
    agent: str
    latency: timedelta
    failure: Failure
    usage: Usage = NO_USAGE
    calls: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class ChildStarted:
    """The execution that a `workflow` step runs has begun; `execution` is its full name."""

    step_id: str
    token: str
    execution: str


@dataclass(frozen=True, kw_only=True, slots=True)
class AgentMissing:
    """Too few live agents are as ordered, or none, so the call was not made."""

    step_id: str
    token: str


@dataclass(frozen=True, kw_only=True, slots=True)
class AgentGone:
    """The agent that was to be called, and no other, has left: the call was not made."""

    step_id: str
    token: str


@dataclass(frozen=True, kw_only=True, slots=True)
class AgentsFound:
    """Who is there for a step that calls several: the full names of the agents."""

    step_id: str
    token: str
    agents: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Bid:
    """What an agent would do a unit of work for; `seconds` is None where it does not know."""

    agent: str
    cost_micros: int
    seconds: float | None
    confidence: float
    capacity: int


@dataclass(frozen=True, kw_only=True, slots=True)
class BidsReceived:
    """What was bid in time, in any order."""

    step_id: str
    token: str
    bids: tuple[Bid, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class AgentAvailable:
    """Agents came up: the steps that wait for them are called again.

    `capability` is what they ask for, which may be narrowed down, as `asking` writes it.
    """

    capability: str


@dataclass(frozen=True, kw_only=True, slots=True)
class CallsLost:
    """The replica that made the calls is gone: each is made again under a new token.

    The attempt number stays, so that a crash of the engine does not eat the retry budget. What
    may be called at most once is not called again: its step says what becomes of it.
    """


@dataclass(frozen=True, kw_only=True, slots=True)
class TimerFired:
    """`next_wake` has passed: everything due is handled."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Continue:
    """An earlier decision left something that could be done at once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SignalReceived:
    """A signal came, for a step that waits for it or will."""

    name: str
    data: Json


@dataclass(frozen=True, kw_only=True, slots=True)
class CancelRequested:
    """Someone wants the execution to end; with `compensate`, once what it did is undone."""

    reason: str = ""
    compensate: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class TerminateRequested:
    """Someone wants the execution to end at once."""

    reason: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class PauseRequested:
    """Someone wants no further call to be made for now."""

    reason: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ResumeRequested:
    """Someone wants a paused or suspended execution to go on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SkipRequested:
    """Someone wants a step under way to be done with: with this output, None for none."""

    step_id: str
    output: Json = None
    by: str = ""
    reason: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Admitted:
    """There is a place for a QUEUED execution: it begins."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Suspended:
    """Folding keeps failing by a defect: the execution stands still until somebody decides."""

    failure: Failure


Answer: TypeAlias = AttemptSucceeded | AttemptFailed | AgentMissing | AgentGone | BidsReceived
"""What became of an ordered call."""
Event: TypeAlias = (
    Answer
    | AgentsFound
    | ChildStarted
    | AgentAvailable
    | CallsLost
    | TimerFired
    | Continue
    | SignalReceived
    | CancelRequested
    | TerminateRequested
    | PauseRequested
    | ResumeRequested
    | SkipRequested
    | Admitted
    | Suspended
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """Order to call an agent, to be carried out after the decision is committed.

    `heartbeat` is the longest silence of the agent; None where no sign of life is expected. Calls
    with the same `affinity` go to the same agent. Only agents whose labels match the `selector` are
    called, and only the `agent` if it is named.
    """

    step_id: str
    capability: str
    policy: Policy
    attempt: int
    token: str
    input: Mapping[str, Json]
    timeout: timedelta
    heartbeat: timedelta | None
    affinity: str = ""
    selector: str = ""
    agent: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Muster:
    """Order to tell which agents are there, `least` to `most` of them, before the decision is kept.

    It is answered by AgentsFound or AgentMissing in the same breath, and never committed.
    """

    step_id: str
    token: str
    capability: str
    selector: str
    policy: Policy
    least: int
    most: int


@dataclass(frozen=True, kw_only=True, slots=True)
class AskBids:
    """Order to ask agents for bids until `timeout`, or until all of them have answered."""

    step_id: str
    token: str
    capability: str
    agents: tuple[str, ...]
    input: Mapping[str, Json]
    timeout: timedelta


@dataclass(frozen=True, kw_only=True, slots=True)
class StartChild:
    """Order to run another workflow, or to find the run that an earlier order began.

    `version` is None for the newest. It is bounded by what its parent has left, as `inherited`.
    """

    step_id: str
    token: str
    workflow: str
    version: int | None
    input: Mapping[str, Json]
    inherited: Inherited


@dataclass(frozen=True, kw_only=True, slots=True)
class CancelCall:
    """Order to cancel a call, or the run of another workflow, that an earlier decision ordered."""

    step_id: str
    token: str


Command: TypeAlias = Call | Muster | AskBids | StartChild | CancelCall


@dataclass(frozen=True, kw_only=True, slots=True)
class HistoryEntry:
    """One fact of an execution's history; empty `step_id`: it concerns the whole execution."""

    sequence: int
    type: str
    step_id: str
    time: datetime
    attributes: Mapping[str, Json]


@dataclass(frozen=True, kw_only=True, slots=True)
class Announcement:
    """A fact for other services; `type` lacks `brikk.` and `.v1`, `sequence` is its entry's."""

    sequence: int
    type: str
    data: Mapping[str, Json]


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """What follows from some events.

    All of it is committed together; then the commands are carried out. `outputs` are those of the
    steps that were accepted here and replace earlier ones at the same path, those at the paths
    `dropped` are not needed any more; `output` is the execution's, once its state is SUCCEEDED.
    With `unfinished` a Continue should follow.
    """

    state: ExecutionState
    history: tuple[HistoryEntry, ...] = ()
    commands: tuple[Command, ...] = ()
    announcements: tuple[Announcement, ...] = ()
    outputs: Mapping[str, Json] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()
    output: Json = None
    unfinished: bool = False

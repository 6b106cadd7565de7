"""What the steps of a workflow can do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

from brikk_shared.selection import Policy
from brikk_workflow.domain.payload import Json

if TYPE_CHECKING:
    from brikk_workflow.domain.definition import Step


class Select(StrEnum):
    """Which of the live agents with the capability are called."""

    ONE = "one"
    ALL = "all"
    RACE = "race"
    BIDS = "bids"


@dataclass(frozen=True, kw_only=True, slots=True)
class Quorum:
    """How many calls must succeed: a number of them, or a share from 0 to 1."""

    items: int = 0
    share: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Bidding:
    """How `select: bids` finds its agent: bids come until the timeout, the best score wins.

    `score` is a CEL expression over `bid` {agent, price, seconds, confidence, capacity} and what
    else the step may read.
    """

    timeout: timedelta = timedelta(seconds=2)
    score: str = "-bid.price"


@dataclass(frozen=True, kw_only=True, slots=True)
class CallStep:
    """Calls live agents that have the capability; strings of `input` may hold expressions.

    `capability`, `selector` and `affinity` are templates too. `quorum` is how many calls must
    succeed with `select: all`, None for all of them, and `max_agents` how many are made, or bids
    asked for, at most.
    """

    capability: str
    input: Mapping[str, Json] = field(default_factory=dict)
    policy: Policy = Policy.BEST
    affinity: str = ""
    select: Select = Select.ONE
    quorum: Quorum | None = None
    max_agents: int = 10
    selector: str = ""
    bids: Bidding | None = None

    @property
    def bidding(self) -> Bidding:
        """How bids are asked for and judged, be it as nobody says."""
        return self.bids or Bidding()


@dataclass(frozen=True, kw_only=True, slots=True)
class Tolerance:
    """How many items of a map may fail: a number of them, or a share from 0 to 1."""

    items: int = 0
    share: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class MapStep:
    """Runs `steps` once for each item of the list that the expression `over` gives.

    Inside, the item is the variable `variable` and its place is `loop.index`. The output is the
    list of what the items' last steps put out, in the order of the items, null where one failed.
    """

    over: str
    variable: str = "item"
    max_concurrency: int = 10
    tolerate: Tolerance = field(default_factory=Tolerance)
    steps: tuple[Step, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """Steps that run when the expression `when` holds."""

    when: str
    steps: tuple[Step, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class SwitchStep:
    """Runs the steps of the first case that holds, or `default`; its output is their last one's."""

    cases: tuple[Case, ...]
    default: tuple[Step, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class LoopStep:
    """Runs `steps` again and again: while `while_` holds before, and until `until` holds after.

    Inside, `loop.index` counts from 0 and `loop.last` is the output of the iteration before. The
    output is the last iteration's, or the list of the last `keep_last` ones.
    """

    while_: str = ""
    until: str = ""
    max_iterations: int = 100
    keep_last: int | None = None
    steps: tuple[Step, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class WaitStep:
    """Waits for a duration, or until a time: a template that gives RFC 3339. One of both is set."""

    duration: timedelta | None = None
    until: str = ""


class OnTimeout(StrEnum):
    """What becomes of a signal step for which no signal comes in time."""

    FAIL = "fail"
    CONTINUE = "continue"


@dataclass(frozen=True, kw_only=True, slots=True)
class SignalStep:
    """Waits for a signal of a name; what it carries is the output, null when it did not come."""

    name: str
    timeout: timedelta | None = None
    on_timeout: OnTimeout = OnTimeout.FAIL


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkflowStep:
    """Runs another workflow as an execution of its own; its output is this step's.

    `workflow` is a template of its id; `version` is None for the newest.
    """

    workflow: str
    version: int | None = None
    input: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class EmitStep:
    """Announces an event of the organisation's own: `brikk.custom.<type>.v1`."""

    type: str
    data: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class SetStep:
    """Writes members of the shared `state`; each writing gives `state` its next version.

    `if_version` is an expression: when it is not the version that `state` has, the step fails with
    STATE_CONFLICT.
    """

    values: Mapping[str, Json]
    if_version: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class FailStep:
    """Fails, for a reason of the author's own; `message` is a template."""

    reason: str
    message: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReturnStep:
    """Ends the execution: it succeeds with this output, and what still runs is cancelled."""

    output: Json = None


Kind: TypeAlias = (
    CallStep
    | MapStep
    | SwitchStep
    | LoopStep
    | WaitStep
    | SignalStep
    | WorkflowStep
    | EmitStep
    | SetStep
    | FailStep
    | ReturnStep
)

KINDS: Mapping[str, type[Kind]] = {
    "call": CallStep,
    "map": MapStep,
    "switch": SwitchStep,
    "loop": LoopStep,
    "wait": WaitStep,
    "signal": SignalStep,
    "workflow": WorkflowStep,
    "emit": EmitStep,
    "set": SetStep,
    "fail": FailStep,
    "return": ReturnStep,
}
"""Every kind by the key under which a step holds it."""


def word_of(kind: Kind) -> str:
    """Return the key under which a step holds something of this kind."""
    return next(word for word, each in KINDS.items() if each is type(kind))

"""A definition made ready to run: its expressions compiled, its graphs turned around."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import TypeAlias

from brikk_shared.json_schema import Schema
from brikk_workflow.domain.definition import Step, WorkflowDefinition
from brikk_workflow.domain.expression import Expression
from brikk_workflow.domain.kinds import (
    CallStep,
    EmitStep,
    FailStep,
    LoopStep,
    MapStep,
    SignalStep,
    WaitStep,
    WorkflowStep,
)
from brikk_workflow.domain.template import Template

COMPENSATE = "compensate"
"""Last part of the path of a compensation; no step has this id."""
CATCH = "catch"
"""What stands between the path of a step and the ids of those in its catch."""


class Role(Enum):
    """Whose steps they are: the workflow's, an item's or iteration's, a case's or a catch's.

    A LEG is one of the calls of a step that calls several agents.
    """

    TOP = auto()
    ITEM = auto()
    CASE = auto()
    CATCH = auto()
    LEG = auto()


@dataclass(frozen=True, kw_only=True, slots=True)
class Body:
    """A list of steps. Where it runs each has a path: the scope's prefix and its id.

    `owner` is the step it belongs to, empty at the top, and `depth` how many parts the prefix has.
    `variables` are those that the steps around it declare.
    """

    role: Role
    owner: str
    depth: int
    variables: tuple[str, ...]
    last: str
    steps: dict[str, CompiledStep]

    def container(self, prefix: str) -> str:
        """Return the path of the step that owns the scope at a prefix."""
        match self.role:
            case Role.ITEM:
                return prefix[:-1].rpartition("/")[0]
            case Role.CATCH:
                return prefix.removesuffix(f"/{CATCH}/")
            case Role.LEG:
                return prefix.rpartition("/")[0]
            case _:
                return prefix[:-1]

    def number(self, prefix: str) -> int:
        """Return which item, iteration or leg the scope at a prefix is; 0 for other roles."""
        if self.role is Role.LEG:
            return int(prefix.rpartition("/")[2])
        return int(prefix[:-1].rpartition("/")[2]) if self.role is Role.ITEM else 0


@dataclass(frozen=True, kw_only=True, slots=True)
class CompiledCall:
    """A call; its texts are templates."""

    kind: CallStep
    capability: Template
    input: Template
    affinity: Template
    selector: Template


@dataclass(frozen=True, kw_only=True, slots=True)
class CompiledSeveral:
    """A call of several agents. Each is a `leg`: a step whose path ends with its number.

    `score` judges their bids, where they are called one after the other, the best first.
    """

    call: CompiledCall
    leg: CompiledStep
    score: Expression | None


@dataclass(frozen=True, kw_only=True, slots=True)
class CompiledMap:
    """A map."""

    kind: MapStep
    over: Expression
    body: Body


@dataclass(frozen=True, kw_only=True, slots=True)
class CompiledSwitch:
    """A switch: conditions with their steps, in order; the default's condition is None."""

    cases: tuple[tuple[Expression | None, Body], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class CompiledLoop:
    """A loop."""

    kind: LoopStep
    while_: Expression | None
    until: Expression | None
    body: Body


@dataclass(frozen=True, kw_only=True, slots=True)
class CompiledWait:
    """A wait."""

    kind: WaitStep
    until: Template


@dataclass(frozen=True, kw_only=True, slots=True)
class CompiledSignal:
    """A wait for a signal."""

    kind: SignalStep


@dataclass(frozen=True, kw_only=True, slots=True)
class CompiledChild:
    """A run of another workflow."""

    kind: WorkflowStep
    workflow: Template
    input: Template


@dataclass(frozen=True, kw_only=True, slots=True)
class CompiledEmit:
    """An event."""

    kind: EmitStep
    data: Template


@dataclass(frozen=True, kw_only=True, slots=True)
class CompiledSet:
    """A writing of the shared state."""

    values: Template
    if_version: Expression | None


@dataclass(frozen=True, kw_only=True, slots=True)
class CompiledFail:
    """A failure of the author's own."""

    kind: FailStep
    message: Template


@dataclass(frozen=True, kw_only=True, slots=True)
class CompiledReturn:
    """An early end."""

    output: Template


Work: TypeAlias = (
    CompiledCall
    | CompiledSeveral
    | CompiledMap
    | CompiledSwitch
    | CompiledLoop
    | CompiledWait
    | CompiledSignal
    | CompiledChild
    | CompiledEmit
    | CompiledSet
    | CompiledFail
    | CompiledReturn
)


@dataclass(frozen=True, kw_only=True, slots=True)
class CompiledCatch:
    """Steps for failures of these codes and reasons; none: any."""

    errors: frozenset[str]
    body: Body


@dataclass(frozen=True, kw_only=True, slots=True)
class CompiledStep:
    """A step with its expressions compiled; `dependents` name it in their `after`.

    `body` is the list it stands in; `bodies` tells whether steps run inside it.
    """

    step: Step
    body: Body
    when: Expression | None
    work: Work
    dependents: tuple[str, ...]
    catches: tuple[CompiledCatch, ...]
    compensate: CompiledStep | None
    bodies: bool

    @property
    def call(self) -> CompiledCall:
        """What it calls, of a step that does."""
        work = self.work
        if isinstance(work, CompiledSeveral):
            return work.call
        assert isinstance(work, CompiledCall)
        return work

    def prefix(self, path: str) -> str:
        """Return the prefix of the scope in which it stands, given its path there."""
        return path.removesuffix(self.step.id)


@dataclass(frozen=True, kw_only=True, slots=True)
class CompiledWorkflow:
    """What the decider runs. It is immutable and may be cached per workflow version.

    `steps` are all of it by their ids, those inside others too.
    """

    definition: WorkflowDefinition
    version: int
    body: Body
    steps: Mapping[str, CompiledStep]
    output: Template
    input_schema: Schema | None

    def at(self, path: str) -> CompiledStep:
        """Return the step at a path, the compensation of one, or one of its legs."""
        step = self.steps.get(path)
        if step is not None:
            return step
        container, _, step_id = path.rpartition("/")
        step = self.steps.get(step_id)
        if step is not None:
            return step
        around = self.steps[container.rpartition("/")[2]]
        if isinstance(around.work, CompiledSeveral) and step_id != COMPENSATE:
            return around.work.leg
        assert around.compensate is not None  # the language has it so
        return around.compensate

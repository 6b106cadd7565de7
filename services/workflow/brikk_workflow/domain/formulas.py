"""The expressions and templates that stand in a step, and what each must give."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

from brikk_shared.path import Path
from brikk_workflow.domain.definition import Step
from brikk_workflow.domain.kinds import (
    CallStep,
    EmitStep,
    FailStep,
    Kind,
    LoopStep,
    MapStep,
    ReturnStep,
    Select,
    SetStep,
    SwitchStep,
    WaitStep,
    WorkflowStep,
)
from brikk_workflow.domain.payload import Json


class Gives(Enum):
    """What an expression must give, in words and in the types of CEL."""

    BOOLEAN = ("a boolean", frozenset({"BOOL"}))
    LIST = ("a list", frozenset({"LIST"}))
    NUMBER = ("a number", frozenset({"DOUBLE", "INT", "UINT"}))
    ANYTHING = ("a value", frozenset[str]())

    @property
    def words(self) -> str:
        """What people call it."""
        return self.value[0]

    def accepts(self, kind: str) -> bool:
        """Tell whether an expression of a type may give it; DYN is not known before."""
        return kind == "DYN" or self is Gives.ANYTHING or kind in self.value[1]


@dataclass(frozen=True, kw_only=True, slots=True)
class Formula:
    """An expression, or with ANYTHING a value whose strings may hold `${expressions}`.

    `variables` are read here beside those of the scope. With `own` it is asked once the step is
    done, and reads it too; with `inner` once an iteration is, whose steps it reads.
    """

    at: Path
    value: Json
    gives: Gives = Gives.ANYTHING
    variables: tuple[str, ...] = field(default=())
    own: bool = False
    inner: bool = False


def formulas(step: Step) -> Iterator[Formula]:
    """Yield what stands in a step itself, not in the steps inside."""
    yield Formula(at=("when",), value=step.when, gives=Gives.BOOLEAN)
    yield from _of_kind(step.kind)
    if step.compensate is not None:
        yield from _of_call(step.compensate.call, ("compensate", "call"), own=True)


def _of_kind(kind: Kind) -> Iterator[Formula]:
    match kind:
        case CallStep():
            yield from _of_call(kind, ("call",))
        case MapStep():
            yield Formula(at=("map", "over"), value=kind.over, gives=Gives.LIST)
        case SwitchStep():
            for index, case in enumerate(kind.cases):
                at: Path = ("switch", "cases", index, "when")
                yield Formula(at=at, value=case.when, gives=Gives.BOOLEAN)
        case LoopStep():
            for word, text in (("while", kind.while_), ("until", kind.until)):
                yield Formula(
                    at=("loop", word),
                    value=text,
                    gives=Gives.BOOLEAN,
                    variables=("loop",),
                    inner=word == "until",
                )
        case WaitStep():
            yield Formula(at=("wait", "until"), value=kind.until)
        case WorkflowStep():
            yield Formula(at=("workflow", "workflow"), value=kind.workflow)
            yield Formula(at=("workflow", "input"), value=kind.input)
        case EmitStep():
            yield Formula(at=("emit", "data"), value=kind.data)
        case SetStep():
            yield Formula(at=("set", "values"), value=kind.values)
            yield Formula(at=("set", "if_version"), value=kind.if_version, gives=Gives.NUMBER)
        case FailStep():
            yield Formula(at=("fail", "message"), value=kind.message)
        case ReturnStep():
            yield Formula(at=("return", "output"), value=kind.output)
        case _:
            pass


def _of_call(call: CallStep, at: Path, *, own: bool = False) -> Iterator[Formula]:
    yield Formula(at=(*at, "capability"), value=call.capability, own=own)
    yield Formula(at=(*at, "input"), value=call.input, own=own)
    yield Formula(at=(*at, "affinity"), value=call.affinity, own=own)
    yield Formula(at=(*at, "selector"), value=call.selector, own=own)
    if call.select is Select.BIDS:
        place: Path = (*at, "bids", "score")
        yield Formula(at=place, value=call.bidding.score, gives=Gives.NUMBER, variables=("bid",))

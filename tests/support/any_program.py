"""Whole programs of the language that can be run, and whose outcome no order of events changes.

Where steps run beside one another none of them ends the others by its failure, and none does what
the others could tell: writes the state, returns, has to be undone in turn. Agents are the canned
ones. Nothing reads what may lose a race.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, TypeVar

from hypothesis import strategies as st

from brikk_workflow.domain.compile import compile_workflow
from brikk_workflow.domain.compiled import CompiledWorkflow
from brikk_workflow.domain.definition import (
    Catch,
    Compensation,
    OnError,
    RetryPolicy,
    Step,
    StepTimeout,
    WorkflowDefinition,
)
from brikk_workflow.domain.duration import format_duration
from brikk_workflow.domain.kinds import (
    CallStep,
    Case,
    EmitStep,
    FailStep,
    Kind,
    LoopStep,
    MapStep,
    OnTimeout,
    ReturnStep,
    SetStep,
    SignalStep,
    SwitchStep,
    Tolerance,
    WaitStep,
    WorkflowStep,
)
from brikk_workflow.domain.payload import Json
from brikk_workflow.domain.reader import write_definition
from brikk_workflow.domain.source import read_yaml
from support.canned_agents import CAPABILITIES, GOOD

T = TypeVar("T")

INPUT: Mapping[str, Json] = {
    "n": 2.0,
    "word": "good",
    "list": [1.0, "b", None],
    "many": [float(each) for each in range(230)],
    "yes": True,
    "no": False,
}
"""What every program is given; `many` is more than one decision takes in."""

SIGNALS: Sequence[tuple[str, Json]] = [
    *((("alike", "x"),) * 40),
    *(("counted", float(each)) for each in range(40)),
]
"""What comes before anybody waits; only steps that nothing runs beside take those that differ."""

ROOT = "root"
_MOMENT = timedelta(milliseconds=20)
_LIMITS = (timedelta(minutes=509), timedelta(minutes=127), timedelta(minutes=61))
"""Of steps inside one another, the outermost first: no sums of them are equal."""


class Program:
    """Workflows by name: `root`, and those that its steps run."""

    def __init__(self, workflows: Mapping[str, CompiledWorkflow]) -> None:
        self.workflows = workflows
        self.definitions = {name: each.definition for name, each in workflows.items()}

    def __repr__(self) -> str:
        return "\n---\n".join(map(as_yaml, self.definitions.values()))


def as_yaml(definition: WorkflowDefinition) -> str:
    """Return a definition as people write it."""
    return json.dumps(_spelt(write_definition(definition)))


@dataclass(frozen=True, kw_only=True)
class _At:
    """Where a step is to stand, and what it can read there.

    `alone`: nothing runs beside it. `bounded`: what waits for ever is ended.
    """

    depth: int
    values: tuple[str, ...]
    alone: bool
    bounded: bool


@st.composite
def programs(draw: st.DrawFn, *, real: bool = False) -> Program:
    """Any program; a `real` one has nothing to wait for but moments."""
    workflows: dict[str, CompiledWorkflow] = {}
    for number in range(draw(st.integers(0, 2))):
        name = f"child-{number}"
        workflows[name] = _Writer(draw, name, list(workflows), real=real).write()
    workflows[ROOT] = _Writer(draw, ROOT, list(workflows), real=real).write()
    return Program(workflows)


class _Writer:
    def __init__(self, draw: st.DrawFn, name: str, children: Sequence[str], *, real: bool) -> None:
        self._draw = draw
        self._name = name
        self._children = children
        self._real = real
        self._ids = 0

    def write(self) -> CompiledWorkflow:
        state = ("state.?k.orValue(null)", "execution.state_version")
        values = ("input.n", "input.word", "input.list", *state)
        is_root = self._name == ROOT
        at = _At(
            depth=0 if is_root else 1, values=values, alone=True, bounded=is_root and not self._real
        )
        steps, seen = self._list(at)
        definition = WorkflowDefinition(
            id=self._name,
            timeout=timedelta(days=30),
            steps=steps,
            output=self._template(replace(at, values=seen)),
        )
        workflow = read_yaml(as_yaml(definition))
        assert isinstance(workflow, CompiledWorkflow), workflow
        return compile_workflow(workflow.definition, version=1)

    # Lists of steps.

    def _list(self, at: _At) -> tuple[tuple[Step, ...], tuple[str, ...]]:
        """Return some steps, and what can be read when they are done."""
        count = self._number(1, 3 if at.depth else 4)
        if count > 1 and self._one_in(4):
            return self._beside(at, count)
        steps: list[Step] = []
        values = at.values
        for _ in range(count):
            after = (steps[-1].id,) if steps else ()
            steps.append(self._step(replace(at, values=values), after=after))
            values = (*values, *_values_of(steps[-1].id))
        return tuple(steps), values

    def _beside(self, at: _At, count: int) -> tuple[tuple[Step, ...], tuple[str, ...]]:
        """Return steps that wait for any of those above, and for so many of them to succeed."""
        ids = [self._id() for _ in range(count)]
        afters = [tuple(each for each in ids[:place] if self._one_in(2)) for place in range(count)]
        joins = [self._number(1, len(after)) if len(after) > 1 else None for after in afters]
        joins = [None if join and self._one_in(2) else join for join in joins]
        racing = {
            each
            for after, join in zip(afters, joins, strict=True)
            for each in after
            if join is not None
        }
        steps: list[Step] = []
        known: dict[str, tuple[str, ...]] = {}
        for step_id, after, join in zip(ids, afters, joins, strict=True):
            # Of those that race nobody knows which are done.
            sure = () if join is not None else after
            seen = tuple(dict.fromkeys(value for each in sure for value in known[each]))
            inside = replace(
                at,
                values=(*at.values, *seen),
                alone=False,
                bounded=False,
                depth=3 if step_id in racing else at.depth,
            )
            step = self._step(inside, step_id=step_id, after=after, goes_on=True)
            if step_id in racing and not isinstance(step.kind, CallStep | WaitStep):
                step = replace(step, kind=self._call(inside), timeout=StepTimeout())
            steps.append(replace(step, join=join))
            known[step_id] = () if step_id in racing else (*seen, *_values_of(step_id))
        return tuple(steps), (*at.values, *(v for each in known.values() for v in each))

    # Steps.

    def _step(
        self, at: _At, *, after: tuple[str, ...], step_id: str = "", goes_on: bool = False
    ) -> Step:
        step_id = step_id or self._id()
        limit = None
        may_stand_still = self._name == ROOT and not self._real and at.alone
        if may_stand_still and at.depth < len(_LIMITS) and self._one_in(6):
            limit = _LIMITS[at.depth]
        kind = self._kind(replace(at, bounded=at.bounded or limit is not None))
        if isinstance(kind, WaitStep) and kind.duration == timedelta(hours=1):
            limit = timedelta(milliseconds=50)
        catch: tuple[Catch, ...] = ()
        if at.depth < 3 and limit != timedelta(milliseconds=50) and self._one_in(4):
            inside = replace(
                at,
                depth=at.depth + 1,
                values=(
                    *at.values,
                    f"steps.{step_id}.error.code",
                    f"steps.{step_id}.error.attempts",
                ),
                bounded=at.bounded or limit is not None,
            )
            errors = self._pick(
                (), (), ("ABORTED",), ("EXPRESSION_FAILED", "OOPS"), ("AGENT_FAILED",)
            )
            catch = (Catch(errors=errors, steps=self._list(inside)[0]),)
        goes_on = goes_on or self._one_in(6)
        # Without a condition nothing may follow them.
        ends = isinstance(kind, ReturnStep | FailStep)
        return Step(
            id=step_id,
            after=after,
            when=self._condition(at) if ends or self._one_in(4) else "",
            kind=kind,
            retry=self._retry() if isinstance(kind, CallStep) else RetryPolicy(),
            timeout=StepTimeout(schedule_to_close=limit),
            on_error=OnError.CONTINUE if goes_on else OnError.FAIL,
            catch=catch,
            compensate=self._compensation(at, step_id)
            if at.alone and not isinstance(kind, ReturnStep) and self._one_in(3)
            else None,
        )

    def _compensation(self, at: _At, step_id: str) -> Compensation:
        inside = replace(at, values=(*at.values, *_values_of(step_id)))
        return Compensation(call=self._call(inside), retry=self._retry())

    def _retry(self) -> RetryPolicy:
        return RetryPolicy(
            max_attempts=self._number(1, 3),
            initial=timedelta(milliseconds=1),
            jitter=0,
            non_retryable=("ABORTED",) if self._one_in(6) else (),
        )

    def _kind(self, at: _At) -> Kind:
        kinds: list[Callable[[_At], Kind]] = [self._call] * 5
        kinds += [self._emit, self._fail, self._wait, self._signal]
        if at.depth < 3:
            kinds += [self._switch, self._map, self._loop] * 2
        if at.alone:
            kinds += [self._set] * 2 + [self._return]
        if self._children:
            kinds += [self._child] * 2
        return self._draw(st.sampled_from(kinds))(at)

    def _call(self, at: _At) -> CallStep:
        capability = self._pick(
            GOOD, GOOD, GOOD, *CAPABILITIES, "t.${input.word}", "t.${input.no ? 'good' : 'wrong'}"
        )
        given = {"x": self._template(at)} if self._one_in(2) else {}
        return CallStep(capability=capability, input=given)

    def _map(self, at: _At) -> MapStep:
        one = self._one_in(2)
        inside = replace(
            at,
            depth=at.depth + 1,
            values=(*at.values, "it", "loop.index"),
            alone=at.alone and one,
            bounded=at.bounded and one,
        )
        if self._one_in(12):
            puts: Kind = EmitStep(type="counted", data={"n": "${it}"})
            many = (Step(id=self._id(), kind=puts),)
            return MapStep(over="input.many", variable="it", max_concurrency=250, steps=many)
        return MapStep(
            over=self._pick("input.list", "input.list", "['a', 'b']", "[]", self._value(at)),
            variable="it",
            max_concurrency=1 if one else self._number(2, 4),
            tolerate=self._pick(Tolerance(), Tolerance(items=1), Tolerance(share=0.5))
            if one
            else Tolerance(share=1.0),
            steps=self._list(inside)[0],
        )

    def _loop(self, at: _At) -> LoopStep:
        inside = replace(at, depth=at.depth + 1, values=(*at.values, "loop.index", "loop.last"))
        if self._one_in(12):
            once = (Step(id=self._id(), kind=WaitStep(duration=timedelta(0))),)
            return LoopStep(while_="loop.index < 230.0", max_iterations=300, steps=once)
        steps, seen = self._list(inside)
        turns = self._number(0, 3)
        while_ = f"loop.index < {turns}.0"
        until = self._condition(replace(inside, values=seen)) if self._one_in(3) else ""
        return LoopStep(
            while_="" if until and self._one_in(2) else while_,
            until=until,
            max_iterations=3,
            keep_last=self._pick(None, None, 1, 2),
            steps=steps,
        )

    def _switch(self, at: _At) -> SwitchStep:
        inside = replace(at, depth=at.depth + 1)
        cases = tuple(
            Case(when=self._condition(at), steps=self._list(inside)[0])
            for _ in range(self._number(1, 2))
        )
        return SwitchStep(cases=cases, default=self._list(inside)[0] if self._one_in(2) else ())

    def _wait(self, at: _At) -> WaitStep:
        if self._one_in(3):
            return WaitStep(until=self._pick("2020-01-01T00:00:00Z", "${input.word}"))
        return WaitStep(duration=self._pick(timedelta(0), _MOMENT, timedelta(hours=1)))

    def _signal(self, at: _At) -> SignalStep:
        if at.alone and at.bounded and self._one_in(3):
            return SignalStep(name="never")
        if self._name != ROOT or self._one_in(3):
            return SignalStep(name="never", timeout=_MOMENT, on_timeout=self._pick(*OnTimeout))
        return SignalStep(name="counted" if at.alone and self._one_in(2) else "alike")

    def _child(self, at: _At) -> WorkflowStep:
        name = self._pick(*self._children)
        given = {**INPUT, "many": [], "n": self._template(at)}
        if name[-1] == "0" and self._one_in(3):
            name = "child-${input.list == null ? 1 : 0}"
        return WorkflowStep(workflow=name, input=given)

    def _emit(self, at: _At) -> EmitStep:
        return EmitStep(type="told", data={"x": self._template(at)})

    def _set(self, at: _At) -> SetStep:
        version = self._pick("", "", "execution.state_version", "1")
        return SetStep(values={self._pick("k", "l"): self._template(at)}, if_version=version)

    def _fail(self, at: _At) -> FailStep:
        return FailStep(reason=self._pick("OOPS", "ABORTED"), message=self._text(at))

    def _return(self, at: _At) -> ReturnStep:
        return ReturnStep(output=self._template(at))

    # Expressions.

    def _condition(self, at: _At) -> str:
        value = self._value(at)
        return self._pick(
            "input.yes", "input.no", f"{value} == null", f"{value} != null", value, "!has(state.k)"
        )

    def _template(self, at: _At) -> Json:
        value = self._value(at)
        values: list[Json] = [1, self._text(at), f"${{{value} == null}}", f"${{{value}}}"]
        return self._pick(*values)

    def _text(self, at: _At) -> str:
        return self._pick("so", "so ${input.n}!", f"so ${{{self._value(at)} == null}}")

    def _value(self, at: _At) -> str:
        return self._pick(*at.values)

    # Choices.

    def _id(self) -> str:
        self._ids += 1
        return f"s{self._ids}"

    def _pick(self, *values: T) -> T:
        return self._draw(st.sampled_from(values))

    def _number(self, least: int, most: int) -> int:
        return self._draw(st.integers(least, most))

    def _one_in(self, many: int) -> bool:
        return self._draw(st.integers(0, many - 1)) == 1


def _values_of(step_id: str) -> tuple[str, ...]:
    return (
        f"steps.{step_id}.output",
        f"steps.{step_id}.output",
        f"steps.{step_id}.output.n",
        f"steps.{step_id}.output.list",
        f"steps.{step_id}.error.code",
        f"steps.{step_id}.error.attempts",
    )


def _spelt(value: Any) -> Any:
    if isinstance(value, timedelta):
        return format_duration(value)
    if isinstance(value, Mapping):
        return {key: _spelt(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_spelt(item) for item in value]
    return value

"""What a program of the language means: one step after the other, in plain recursive Python.

It knows neither crashes nor clocks nor stores, and shares nothing with the engine's decider but the
definition and the expressions. Steps that may run beside one another run in any order here, so it
answers for programs whose outcome does not depend on that.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from graphlib import TopologicalSorter

from brikk_workflow.domain.definition import (
    Compensation,
    OnError,
    RetryPolicy,
    Step,
    WorkflowDefinition,
)
from brikk_workflow.domain.expression import ExpressionFailed, compile_expression
from brikk_workflow.domain.kinds import (
    CallStep,
    EmitStep,
    FailStep,
    LoopStep,
    MapStep,
    OnTimeout,
    ReturnStep,
    SetStep,
    SignalStep,
    SwitchStep,
    WaitStep,
    WorkflowStep,
)
from brikk_workflow.domain.payload import Json
from brikk_workflow.domain.scope import Scope
from brikk_workflow.domain.state import ExecutionStatus, StepStatus
from brikk_workflow.domain.template import as_text, compile_template
from support.canned_agents import Refusal, answer
from support.outcomes import Outcome

NOTHING = timedelta(0)


class Failed(Exception):
    """A step fails, with a code, a reason, and what its author calls that."""

    def __init__(self, code: str, reason: str, own: str = "") -> None:
        super().__init__(code, reason, own)
        self.code, self.reason, self.own = code, reason, own or reason


TIMEOUT = Failed("DEADLINE_EXCEEDED", "STEP_TIMEOUT")


class Returned(Exception):
    """A `return` was reached."""

    def __init__(self, output: Json) -> None:
        super().__init__(output)
        self.output = output


class TimeUp(Exception):
    """Nothing happened any more until the time of something was up."""

    def __init__(self, whose: object) -> None:
        super().__init__(whose)
        self.whose = whose


class OutOfSignals(Exception):
    """More steps wait for a signal than are sent."""


class _Known(ChainMap[str, Json]):
    """What the steps of a scope and of those around put out; null where they did not."""

    def __missing__(self, key: str) -> Json:
        return None


@dataclass(frozen=True)
class _Place:
    """Where steps stand: the prefix of their paths, and what can be read there."""

    prefix: str
    outputs: _Known
    errors: _Known
    variables: Mapping[str, Json]

    def inside(self, prefix: str, **variables: Json) -> _Place:
        return _Place(
            prefix,
            _Known({}, *self.outputs.maps),
            _Known({}, *self.errors.maps),
            {**self.variables, **variables},
        )


class Interpreter:
    """Runs programs, by their names."""

    def __init__(self, programs: Mapping[str, WorkflowDefinition]) -> None:
        self.programs = programs
        self.now = NOTHING
        self.deadlines: list[tuple[timedelta, object]] = []

    def run(
        self, name: str, given: Mapping[str, Json], signals: Sequence[tuple[str, Json]] = ()
    ) -> Outcome:
        """Return the outcome of a program; the signals come before anybody waits for them."""
        return _Execution(self, self.programs[name], given, list(signals)).run()

    def stand_still(self, signal: str) -> None:
        """Wait for what never comes: the time of whoever has the least is up."""
        if signal != "never":
            raise OutOfSignals
        self.now, whose = min(self.deadlines, key=lambda each: each[0])
        raise TimeUp(whose)


class _Execution:
    def __init__(
        self,
        world: Interpreter,
        definition: WorkflowDefinition,
        given: Mapping[str, Json],
        signals: list[tuple[str, Json]],
    ) -> None:
        self._world = world
        self._definition = definition
        self._input = given
        self._signals = signals
        self._state: dict[str, Json] = {}
        self._version = 0
        self._tries: dict[str, int] = {}
        self._undo: list[tuple[str, Compensation, str, Json]] = []
        self._outcome = Outcome()

    def run(self) -> Outcome:
        outcome, top = self._outcome, _Place("", _Known(), _Known(), {})
        self._world.deadlines.append((self._world.now + self._definition.timeout, self))
        try:
            outcome.output = self._whole(top)
            outcome.status = ExecutionStatus.SUCCEEDED
        except Failed as failed:
            outcome.failure = failed.code, failed.reason
        except TimeUp as time:
            assert time.whose is self, "only the outermost program stands still"
            outcome.failure = "DEADLINE_EXCEEDED", "EXECUTION_TIMEOUT"
        finally:
            self._world.deadlines.pop()
        if outcome.failure:
            outcome.status = ExecutionStatus.FAILED
            self._undo_all()
        return outcome

    def _whole(self, top: _Place) -> Json:
        try:
            self._list(self._definition.steps, top)
        except Failed as failed:
            raise Failed(failed.code, "STEP_FAILED") from failed
        except Returned as returned:
            return returned.output
        return self._render(self._definition.output, top)

    def _undo_all(self) -> None:
        for path, compensation, capability, given in reversed(self._undo):
            undone = f"{path}/compensate"
            self._outcome.undone.append((undone, capability, given))
            try:
                self._call(undone, capability, given, compensation.retry)
                self._outcome.steps[undone] = StepStatus.SUCCEEDED
            except Failed:
                self._outcome.steps[undone] = StepStatus.FAILED

    # Steps.

    def _list(self, steps: Sequence[Step], place: _Place) -> Json:
        for step in _in_order(steps):
            self._step(step, place)
        return place.outputs[steps[-1].id]

    def _step(self, step: Step, place: _Place) -> None:
        path = place.prefix + step.id
        try:
            try:
                if self._wanted(step, place):
                    output = self._in_time(step, lambda: self._do(step, path, place))
                    self._succeed(step, path, place, output)
                else:
                    self._outcome.steps[path] = StepStatus.SKIPPED
            except Failed as failed:
                self._recover(step, path, place, failed)
        except (Returned, TimeUp):
            self._outcome.steps.setdefault(path, StepStatus.CANCELLED)
            raise

    def _wanted(self, step: Step, place: _Place) -> bool:
        wanted = not step.when or self._holds(step.when, place)
        if step.join is None:
            return wanted
        paths = [place.prefix + before for before in step.after]
        well = [each for each in paths if self._outcome.steps[each] is StepStatus.SUCCEEDED]
        if len(well) < step.join:
            return False
        self._outcome.racing.update(set(paths) - set(well) if len(well) == step.join else paths)
        return wanted

    def _in_time(self, step: Step, do: Callable[[], Json]) -> Json:
        limit = step.timeout.schedule_to_close
        if limit is None:
            return do()
        whose = object()
        self._world.deadlines.append((self._world.now + limit, whose))
        try:
            return do()
        except TimeUp as time:
            if time.whose is not whose:
                raise
            raise TIMEOUT from None
        finally:
            self._world.deadlines.pop()

    def _succeed(self, step: Step, path: str, place: _Place, output: Json) -> None:
        place.outputs[step.id] = output
        place.errors.pop(step.id, None)
        if step.compensate is not None:
            try:
                capability = self._text(step.compensate.call.capability, place)
                given = self._render(step.compensate.call.input, place)
            except Failed:
                place.outputs[step.id] = None
                raise
            self._undo.append((path, step.compensate, capability, given))
        self._outcome.steps[path] = StepStatus.SUCCEEDED

    def _recover(self, step: Step, path: str, place: _Place, failed: Failed) -> None:
        if isinstance(step.kind, MapStep | LoopStep):
            self._forget(path)
        place.errors[step.id] = self._error(path, failed)
        names = {failed.code, failed.reason, failed.own}
        for catch in step.catch:
            if not catch.errors or names.intersection(catch.errors):
                inside = place.inside(f"{path}/catch/")
                try:
                    output = self._in_time(step, partial(self._list, catch.steps, inside))
                    self._succeed(step, path, place, output)
                except Failed as again:
                    failed = again
                    break
                return
        self._outcome.steps[path] = StepStatus.FAILED
        place.errors[step.id] = self._error(path, failed)
        if step.on_error is OnError.FAIL:
            raise failed

    def _error(self, path: str, failed: Failed) -> Json:
        attempts = float(self._tries.get(path, 0))
        return {"code": failed.code, "reason": failed.own, "attempts": attempts}

    def _forget(self, path: str) -> None:
        for each in [each for each in self._outcome.steps if each.startswith(f"{path}/")]:
            del self._outcome.steps[each]

    # Kinds of steps.

    def _do(self, step: Step, path: str, place: _Place) -> Json:
        kind = step.kind
        match kind:
            case CallStep():
                given = self._render(kind.input, place)
                return self._call(path, self._text(kind.capability, place), given, step.retry)
            case MapStep():
                return self._map(kind, path, place)
            case SwitchStep():
                return self._switch(kind, path, place)
            case LoopStep():
                return self._loop(kind, path, place)
            case WaitStep():
                return self._wait(kind, step.timeout.schedule_to_close, place)
            case SignalStep():
                return self._signal(kind)
            case WorkflowStep():
                return self._child(kind, path, place)
            case EmitStep():
                self._outcome.emitted.append((kind.type, self._render(kind.data, place)))
                return None
            case SetStep():
                return self._set(kind, place)
            case FailStep():
                self._render(kind.message, place)
                raise Failed("FAILED_PRECONDITION", "FAIL_STEP", kind.reason)
            case ReturnStep():
                output = self._render(kind.output, place)
                self._outcome.steps[path] = StepStatus.SUCCEEDED
                raise Returned(output)

    def _call(self, path: str, capability: str, given: Json, retry: RetryPolicy) -> Json:
        assert isinstance(given, Mapping)
        for attempt in range(1, retry.max_attempts + 1):
            self._tries[path] = attempt
            self._outcome.attempts += 1
            answered = answer(capability, given, attempt)
            if not isinstance(answered, Refusal):
                return answered
            last = attempt == retry.max_attempts or answered.code in retry.non_retryable
            if last or not answered.retryable:
                raise Failed(answered.code, "AGENT_FAILED")
        raise AssertionError("there is one attempt at least")

    def _map(self, kind: MapStep, path: str, place: _Place) -> Json:
        items = self._evaluate(kind.over, place)
        if isinstance(items, str) or not isinstance(items, Sequence):
            raise Failed("FAILED_PRECONDITION", "EXPRESSION_FAILED")
        outputs: list[Json] = []
        failures, share = 0, int(kind.tolerate.share * len(items) + 1e-9)
        for number, item in enumerate(items):
            loop: Json = {"index": float(number)}
            inside = place.inside(f"{path}/{number}/", **{kind.variable: item, "loop": loop})
            try:
                outputs.append(self._list(kind.steps, inside))
            except Failed:
                failures += 1
                if failures > max(kind.tolerate.items, share):
                    raise
                outputs.append(None)
            self._forget(f"{path}/{number}")
        return outputs

    def _switch(self, kind: SwitchStep, path: str, place: _Place) -> Json:
        for case in kind.cases:
            if self._holds(case.when, place):
                return self._list(case.steps, place.inside(f"{path}/"))
        return self._list(kind.default, place.inside(f"{path}/")) if kind.default else None

    def _loop(self, kind: LoopStep, path: str, place: _Place) -> Json:
        outputs: list[Json] = []
        while True:
            number = len(outputs)
            last = outputs[-1] if outputs else None
            loop: Json = {"index": float(number), "last": last}
            inside = place.inside(f"{path}/{number}/", loop=loop)
            if kind.while_ and not self._holds(kind.while_, inside):
                break
            if number == kind.max_iterations:
                raise Failed("OUT_OF_RANGE", "LOOP_LIMIT")
            outputs.append(self._list(kind.steps, inside))
            loop = {"index": float(number), "last": outputs[-1]}
            ended = replace(inside, variables={**inside.variables, "loop": loop})
            over = bool(kind.until) and self._holds(kind.until, ended)
            self._forget(f"{path}/{number}")
            if over:
                break
        if kind.keep_last is not None:
            return outputs[-kind.keep_last :]
        return outputs[-1] if outputs else None

    def _wait(self, kind: WaitStep, limit: timedelta | None, place: _Place) -> Json:
        if kind.duration is None:
            time = as_text(self._render(kind.until, place))
            try:
                assert datetime.fromisoformat(time).year < 2026, "a wait that nobody sits out"
            except ValueError as error:
                raise Failed("FAILED_PRECONDITION", "EXPRESSION_FAILED") from error
        elif limit is not None and limit < kind.duration:
            raise TIMEOUT
        return None

    def _signal(self, kind: SignalStep) -> Json:
        for place, (name, data) in enumerate(self._signals):
            if name == kind.name:
                del self._signals[place]
                return data
        if kind.timeout is None:
            self._world.stand_still(kind.name)
        elif kind.on_timeout is OnTimeout.FAIL:
            raise Failed("DEADLINE_EXCEEDED", "SIGNAL_TIMEOUT")
        return None

    def _child(self, kind: WorkflowStep, path: str, place: _Place) -> Json:
        given, name = self._render(kind.input, place), self._text(kind.workflow, place)
        assert isinstance(given, Mapping)
        self._tries[path] = 1
        child = _Execution(self._world, self._world.programs[name], given, [])
        self._outcome.children[path] = child._outcome
        ended = child.run()
        self._outcome.attempts += ended.attempts
        if ended.failure is not None:
            raise Failed(*ended.failure)
        return ended.output

    def _set(self, kind: SetStep, place: _Place) -> Json:
        if kind.if_version and self._evaluate(kind.if_version, place) != self._version:
            raise Failed("ABORTED", "STATE_CONFLICT")
        values = self._render(kind.values, place)
        assert isinstance(values, Mapping)
        self._state = {**self._state, **values}
        self._version += 1
        return None

    # Expressions.

    def _scope(self, place: _Place) -> Scope:
        return Scope(
            input=self._input,
            outputs=place.outputs,
            execution={"state_version": float(self._version)},
            state=self._state,
            errors=place.errors,
            variables=place.variables,
        )

    def _evaluate(self, text: str, place: _Place) -> Json:
        try:
            return compile_expression(text, tuple(place.variables)).evaluate(self._scope(place))
        except ExpressionFailed as error:
            raise Failed(error.code, error.reason) from error

    def _holds(self, text: str, place: _Place) -> bool:
        value = self._evaluate(text, place)
        if not isinstance(value, bool):
            raise Failed("FAILED_PRECONDITION", "EXPRESSION_FAILED")
        return value

    def _render(self, value: Json, place: _Place) -> Json:
        try:
            return compile_template(value, tuple(place.variables)).render(self._scope(place))
        except ExpressionFailed as error:
            raise Failed(error.code, error.reason) from error

    def _text(self, text: str, place: _Place) -> str:
        return as_text(self._render(text, place))


def _in_order(steps: Sequence[Step]) -> Iterator[Step]:
    """Yield steps so that each comes after those it waits for."""
    by_id = {step.id: step for step in steps}
    for step_id in TopologicalSorter({step.id: step.after for step in steps}).static_order():
        yield by_id[step_id]

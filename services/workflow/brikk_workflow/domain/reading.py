"""What each step can read: outputs and errors of its own scope and of those around, variables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from brikk_workflow.domain.compiled import Body, CompiledLoop, CompiledMap, CompiledWorkflow, Role
from brikk_workflow.domain.decision import Values
from brikk_workflow.domain.payload import Json
from brikk_workflow.domain.scope import Scope
from brikk_workflow.domain.state import StepState

STATE = "/state"
"""Where the shared state lies among the outputs; no path of a step begins like this."""


def items_of(path: str) -> str:
    """Return where the items of a map lie."""
    return f"{path}/items"


def agents_of(path: str) -> str:
    """Return where the agents lie that a step calls, in the order of its legs."""
    return f"{path}/agents"


def last_of(path: str) -> str:
    """Return where the last output of a loop lies, or the list of those that it keeps."""
    return f"{path}/last"


class Reading:
    """The scopes of an execution. `outputs` and `steps` are looked at when something is read."""

    def __init__(
        self,
        workflow: CompiledWorkflow,
        values: Values,
        outputs: Mapping[str, Json],
        steps: Mapping[str, StepState],
        state_version: int,
    ) -> None:
        self._workflow = workflow
        self._values = values
        self._outputs = outputs
        self._steps = steps
        self._scopes: dict[str, Scope] = {}
        self._state: Mapping[str, Json] = {}
        self._execution: dict[str, Json] = {
            "id": values.execution,
            "workflow": workflow.definition.id,
            "version": float(workflow.version),
            "state_version": float(state_version),
        }
        if state_version:
            self.state_written(state_version)

    def output(self, path: str) -> Json:
        """Return what lies at a path; null where nothing does, as after a skipped step."""
        outputs = self._outputs if path in self._outputs else self._values.outputs
        return outputs.get(path)

    def stored(self, path: str) -> bool:
        """Tell whether an earlier decision left something at a path."""
        return path in self._values.outputs

    def state(self) -> Mapping[str, Json]:
        """Return the shared state."""
        return self._state

    def state_written(self, version: int) -> None:
        """Let what is read from now on see the state that was just written."""
        state = self.output(STATE)
        assert isinstance(state, Mapping)  # or it had no version
        self._state = state
        self._execution = {**self._execution, "state_version": float(version)}
        self._scopes.clear()

    def scope(self, prefix: str, body: Body) -> Scope:
        """Return what the steps of a scope may read."""
        scope = self._scopes.get(prefix)
        if scope is None:
            scope = self._scopes[prefix] = self._make(prefix, body)
        return scope

    def forget(self, prefix: str) -> None:
        """Read anew what the steps of a scope may read."""
        self._scopes.pop(prefix, None)

    def path(self, prefix: str, step_id: str) -> str:
        """Return the path of the step that an expression within a scope names."""
        depth = self._workflow.steps[step_id].body.depth
        if depth == 0:
            return step_id
        return "/".join((*prefix.split("/")[:depth], step_id))

    def error(self, path: str) -> Json:
        """Return what happened to a step that failed; null if it did not."""
        step = self._steps.get(path)
        if step is None or step.failure is None or not (step.failed or step.caught is not None):
            return None
        failure = step.failure
        return {
            "code": failure.code,
            "reason": failure.own_reason,
            "message": failure.message,
            "attempts": float(step.attempt),
        }

    def _make(self, prefix: str, body: Body) -> Scope:
        return Scope(
            input=self._values.input,
            outputs=_Outputs(self, prefix),
            execution=self._execution,
            state=self._state,
            errors=_Errors(self, prefix),
            variables=self._variables(prefix, body) if body.variables else {},
        )

    def _variables(self, prefix: str, body: Body) -> dict[str, Json]:
        """Return the variables that the maps and loops around declare, the inner ones last."""
        container = body.container(prefix)
        owner = self._workflow.steps[body.owner]
        around = owner.prefix(container)
        variables = self._variables(around, owner.body) if owner.body.variables else {}
        if body.role is not Role.ITEM:
            return variables
        number, work = body.number(prefix), owner.work
        loop: dict[str, Json] = {"index": float(number)}
        if isinstance(work, CompiledMap):
            items: Json = self.output(items_of(container))
            assert isinstance(items, list)  # the map wrote it
            variables[work.kind.variable] = items[number]
        elif isinstance(work, CompiledLoop):
            last = self.output(last_of(container))
            if work.kind.keep_last is not None and isinstance(last, list):
                last = last[-1]
            loop["last"] = last
        variables["loop"] = loop
        return variables


class _Named(Mapping[str, Json]):
    """Values of the steps that can be named within a scope, found when they are asked for."""

    def __init__(self, reading: Reading, prefix: str) -> None:
        self._reading = reading
        self._prefix = prefix

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


class _Outputs(_Named):
    def __getitem__(self, step_id: str) -> Json:
        return self._reading.output(self._reading.path(self._prefix, step_id))


class _Errors(_Named):
    def __getitem__(self, step_id: str) -> Json:
        return self._reading.error(self._reading.path(self._prefix, step_id))

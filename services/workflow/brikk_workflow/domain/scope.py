"""What the expressions of an execution may read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from brikk_shared.cel.scope import walk
from brikk_shared.path import Path
from brikk_workflow.domain.payload import Json


@dataclass(frozen=True, kw_only=True, slots=True)
class Scope:
    """What can be read. `outputs` holds the outputs of the done steps; a skipped step's is null.

    `errors` says what happened to those of them that failed, `variables` are those that the steps
    around declare: `loop`, `item` or as it is called.
    """

    input: Mapping[str, Json]
    outputs: Mapping[str, Json]
    execution: Mapping[str, Json]
    state: Mapping[str, Json] = field(default_factory=dict)
    errors: Mapping[str, Json] = field(default_factory=dict)
    variables: Mapping[str, Json] = field(default_factory=dict)

    def variable(self, name: str) -> Json:
        """Return what a variable holds."""
        match name:
            case "steps":
                return _Steps(self)
            case "input":
                return self.input
            case "execution":
                return self.execution
            case "state":
                return self.state
            case _:
                return self.variables[name]

    def member(self, step: str, name: str) -> Json:
        """Return the `output` of a step, or its `error`, null when it did not fail."""
        return self.errors.get(step) if name == "error" else self.outputs[step]

    def look_up(self, path: Path) -> Json:
        """Return the value at a path, which names `output` or `error` of a step if it is a step's.

        Raises NoSuchValue.
        """
        if path[0] == "steps":
            value, start = self.member(str(path[1]), str(path[2])), 3
        else:
            value, start = self.variable(str(path[0])), 1
        return walk(value, path, start)


class _Steps(Mapping[str, Json]):
    """The done steps as expressions read them; only those that are read are put together."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def __getitem__(self, step: str) -> Json:
        return {"output": self._scope.outputs[step], "error": self._scope.errors.get(step)}

    def __iter__(self) -> Iterator[str]:
        return iter(self._scope.outputs)

    def __len__(self) -> int:
        return len(self._scope.outputs)

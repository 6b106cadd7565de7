"""What the expressions of an execution may read, and the plain paths into it."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from brikk_shared.path import Path, written
from brikk_workflow.domain.payload import Json
from brikk_workflow.domain.tokens import Kind, Token

VARIABLES = ("input", "steps", "execution", "state")
"""What every expression reads; inside maps and loops there are more, which steps declare."""

_SIMPLE_TEXT = re.compile(r"""(["'])[^"'\\]*\1""")


class NoSuchValue(Exception):
    """A path leads nowhere in the values of an execution."""


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
        """Return what a variable other than `steps` holds."""
        match name:
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
        for index in range(start, len(path)):
            part = path[index]
            if isinstance(part, str):
                if not isinstance(value, Mapping):
                    raise NoSuchValue(f"{written(path[:index])} is {kind_of(value)}, not an object")
                if part not in value:
                    raise NoSuchValue(f"{written(path[:index])} has no member {part!r}")
                value = value[part]
            else:
                if isinstance(value, str) or not isinstance(value, Sequence):
                    raise NoSuchValue(f"{written(path[:index])} is {kind_of(value)}, not a list")
                if part >= len(value):
                    raise NoSuchValue(f"{written(path[:index])} has only {len(value)} items")
                value = value[part]
        return value


def plain_path(tokens: list[Token], variables: Collection[str]) -> Path | None:
    """Return the path if the whole expression is one, as `input.tickets[0].body`, else None."""
    if not tokens or tokens[0].text not in variables:
        return None
    path: list[str | int] = [tokens[0].text]
    index = 1
    while index < len(tokens):
        sign = tokens[index].text
        part = tokens[index + 1] if index + 1 < len(tokens) else None
        if part is None:
            return None
        if sign == "." and part.kind is Kind.NAME:
            path.append(part.text)
            index += 2
        elif sign == "[" and len(tokens) > index + 2 and tokens[index + 2].text == "]":
            if part.kind is Kind.INTEGER and part.text.isdigit():
                path.append(int(part.text))
            elif part.kind is Kind.STRING and _SIMPLE_TEXT.fullmatch(part.text):
                path.append(part.text[1:-1])
            else:
                return None
            index += 3
        else:
            return None
    return tuple(path)


def kind_of(value: object) -> str:
    """Return how people call the kind of a value, with its article."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, str):
        return "a string"
    if isinstance(value, float | int):
        return "a number"
    if isinstance(value, timedelta):
        return "a duration"
    return "an object" if isinstance(value, Mapping) else "a list"

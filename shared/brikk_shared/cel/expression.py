"""Compiles and evaluates expressions; the one place that knows which CEL runtime it is.

Hazards of cel-expr-python 0.1.3 that shape this file: on Python 3.11 `.value()` of a null drops a
reference to None and ends the process after enough of them; a variable is converted whole on each
evaluation; errors at run time come back as values; memory has no bound (see `growth`); a word that
CEL reserves cannot be a variable, so that another name of its length stands for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TypeAlias

from cel_expr_python import cel
from cel_expr_python.ext.ext_math import ExtMath
from cel_expr_python.ext.ext_optional import ExtOptional
from cel_expr_python.ext.ext_strings import ExtStrings

from brikk_shared.cel.complaints import compile_complaints, plainly
from brikk_shared.cel.growth import MAX_LIST, bound, count_macros, excesses
from brikk_shared.cel.scope import NoSuchValue, Scope, plain_path
from brikk_shared.cel.tokens import Kind, Reference, Token, is_sign, references, tokenize
from brikk_shared.cel.values import LARGEST_INTEGER, Json, kind_of, scrub, unstorable
from brikk_shared.errors import FailedPrecondition, Reason

MAX_LENGTH = 4096
MAX_VALUES = 10_000
MAX_TEXT = 1 << 18
MAX_RESULT_VALUES = 100_000
MAX_RESULT_TEXT = 1 << 20

_Shape: TypeAlias = "dict[str, _Shape]"
"""The members to convert of a value; an empty one stands for the whole value."""


class ExpressionInvalid(Exception):
    """An expression that is not accepted; each problem says what to write instead."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class ExpressionFailed(FailedPrecondition):
    """An expression failed on the values of one evaluation."""

    def __init__(self, expression: str, problem: str) -> None:
        super().__init__(
            Reason.EXPRESSION_FAILED,
            scrub(f"`{expression}` failed: {problem}"),
            metadata={"expression": expression},
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Vocabulary:
    """What the expressions of one place may read."""

    variables: tuple[str, ...]
    """Those that each of them may read; where it stands may declare more."""
    reserved: Mapping[str, str] = field(default_factory=dict)
    """Words of CEL's own that may be declared, each with what to say where they are not."""
    check: Callable[[Sequence[Reference]], list[str]] = lambda _: []
    """Finds what references must not look like, in words that say what to write instead."""
    max_values: int = MAX_VALUES
    """Most values that one evaluation may read: a thousand take half a millisecond."""
    max_text: int = MAX_TEXT
    """Most characters of them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Parsed:
    """An expression that was accepted, with its words."""

    text: str
    program: cel.Expression
    tokens: list[Token]
    references: list[Reference]
    stand_ins: Mapping[str, str]
    """What stands in the program for variables that CEL reserves."""
    vocabulary: Vocabulary


class Expression:
    """A compiled expression.

    `reads` are the variables it names; `macros` is how many list macros it has, and `type` is `DYN`
    when it is not known.
    """

    __slots__ = (
        "_path",
        "_program",
        "_shape",
        "_stand_ins",
        "_vocabulary",
        "macros",
        "reads",
        "text",
        "type",
    )

    def __init__(self, parsed: Parsed) -> None:
        paths = [reference.path for reference in parsed.references]
        self.text = parsed.text
        self.type: str = parsed.program.return_type().name().partition("<")[0]
        self.macros = count_macros(parsed.tokens)
        self.reads = frozenset(path[0] for path in paths)
        self._path = plain_path(parsed.tokens, self.reads)
        self._program = parsed.program
        self._shape = _shape(paths)
        self._stand_ins = parsed.stand_ins
        self._vocabulary = parsed.vocabulary

    def evaluate(self, scope: Scope) -> Json:
        """Return the value, numbers as floats. Raises ExpressionFailed."""
        if self._path is not None:
            try:
                return scope.look_up(self._path)
            except NoSuchValue as error:
                raise ExpressionFailed(self.text, str(error)) from error
        reading = _Reading(self.text, self._vocabulary)
        data = reading.data(self._shape, self._stand_ins, scope)
        try:
            value = self._program.eval(data=data)
        except RuntimeError as error:  # how the runtime says that its iteration budget is spent
            raise ExpressionFailed(self.text, plainly(str(error))) from error
        return reading.result(value)

    def holds(self, scope: Scope) -> bool:
        """Return the value of a condition. Raises ExpressionFailed unless it is a boolean."""
        value = self.evaluate(scope)
        if not isinstance(value, bool):
            raise ExpressionFailed(self.text, f"the condition is {kind_of(value)}, not a boolean")
        return value


def parse(text: str, vocabulary: Vocabulary, declared: Iterable[str] = ()) -> Parsed:
    """Read an expression; `declared` are the variables that there are besides where it stands.

    Raises ExpressionInvalid with every problem found.
    """
    if len(text) > MAX_LENGTH:
        raise ExpressionInvalid([f"is longer than {MAX_LENGTH} characters"])
    if unstorable(text):
        raise ExpressionInvalid(["holds a NUL or half a surrogate pair"])
    tokens = list(tokenize(text))
    readable = (*vocabulary.variables, *declared)
    found = _variables(tokens, readable)
    stand_ins = {name: _stand_in(name) for name in vocabulary.reserved}
    for token in tokens:
        if token.text in stand_ins.values():
            raise ExpressionInvalid([f"there is no `{token.text}`"])
    names = frozenset(stand_ins.get(name, name) for name in readable)
    try:
        program = _environment(names).compile(_without_reserved(text, tokens, found, stand_ins))
    except RuntimeError as error:
        complaints = compile_complaints(str(error), readable, vocabulary.reserved)
        raise ExpressionInvalid(complaints) from error
    problems = [*vocabulary.check(found), *_number_problems(tokens, found)]
    problems += excesses(tokens, found)
    if program.return_type().name().startswith("optional_type"):
        problems.append("is optional: end it with `.orValue(...)`")
    if problems:
        raise ExpressionInvalid(problems)
    return Parsed(
        text=text,
        program=program,
        tokens=tokens,
        references=found,
        stand_ins=stand_ins,
        vocabulary=vocabulary,
    )


@lru_cache(maxsize=1000)
def _environment(names: frozenset[str]) -> cel.Env:
    """Return what knows the variables, which takes 1 ms to make."""
    return cel.NewEnv(
        variables=dict.fromkeys(names, cel.Type.DYN),
        extensions=[ExtStrings(), ExtMath(), ExtOptional()],
    )


def _variables(tokens: list[Token], readable: tuple[str, ...]) -> list[Reference]:
    """Return what refers to data, which the variable of a list macro of the same name does not."""
    bindings = bound(tokens)
    return [
        found
        for found in references(tokens)
        if found.path[0] in readable
        and not any(name == found.path[0] and found.first in where for name, where in bindings)
    ]


def _stand_in(name: str) -> str:
    return name[0] + "_" * (len(name) - 2) + name[-1]


def _without_reserved(
    text: str, tokens: list[Token], variables: list[Reference], stand_ins: Mapping[str, str]
) -> str:
    """Return the text with what stands for reserved names, each character in its place."""
    for variable in variables:
        stand_in = stand_ins.get(variable.path[0])
        if stand_in is not None:
            end = tokens[variable.first].end
            text = text[: end - len(stand_in)] + stand_in + text[end:]
    return text


def _shape(paths: list[tuple[str, ...]]) -> _Shape:
    """Return the least that must be converted for an expression that reads these paths."""
    shape: _Shape = {}
    for path in sorted(paths, key=len, reverse=True):
        members = shape
        for part in path[:-1]:
            members = members.setdefault(part, {})
        members[path[-1]] = {}  # shorter paths come later and take in the longer ones
    return shape


class _Reading:
    """What goes into one evaluation and comes out of it, within bounds."""

    def __init__(self, text: str, vocabulary: Vocabulary) -> None:
        self._text = text
        self._values = vocabulary.max_values
        self._characters = vocabulary.max_text

    def data(self, shape: _Shape, stand_ins: Mapping[str, str], scope: Scope) -> dict[str, Json]:
        """Return the variables with only the members that the expression names."""
        return {
            stand_ins.get(name, name): self._part(members, scope.variable(name))
            for name, members in shape.items()
        }

    def result(self, value: cel.Value) -> Json:
        """Return the plain value."""
        self._values, self._characters = MAX_RESULT_VALUES, MAX_RESULT_TEXT
        return self._plain(value)

    def _part(self, shape: _Shape, value: Json) -> Json:
        if shape and isinstance(value, Mapping):
            return {
                name: self._part(members, value[name])
                for name, members in shape.items()
                if name in value
            }
        self._spend(value)
        return value

    def _spend(self, root: Json) -> None:
        """Count a value that is about to be converted."""
        rest = [root]
        while rest:
            value = rest.pop()
            self._count(value)
            if isinstance(value, Mapping):
                rest.extend(value.values())
                self._characters -= sum(map(len, value))
            elif isinstance(value, Sequence) and not isinstance(value, str):
                if len(value) > MAX_LIST:
                    raise self._failed(
                        f"it reads a list of {len(value)} items; at most {MAX_LIST} can be"
                    )
                rest.extend(value)

    def _count(self, value: Json) -> None:
        self._values -= 1
        if isinstance(value, str):
            self._characters -= len(value)
        if self._values < 0 or self._characters < 0:
            raise self._failed("it handles more data than one expression may")

    def _plain(self, value: cel.Value) -> Json:
        plain = self._json(value)
        self._count(plain)
        if isinstance(plain, float) and not math.isfinite(plain):
            raise self._failed("the result is not a finite number")
        return plain

    def _json(self, value: cel.Value) -> Json:
        try:
            kind = value.type().name().partition("<")[0]
            if kind == "NULL":  # before .value(): see the hazards above
                return None
            content = value.value()
        except TypeError as error:  # how an optional, which has no Python form, answers
            problem = "the result is optional: end it with `.orValue(...)`"
            raise self._failed(problem) from error
        match kind:
            case "BOOL":
                return bool(content)
            case "STRING":
                return str(content)
            case "DOUBLE":
                return float(content)
            case "INT" | "UINT":
                if abs(content) > LARGEST_INTEGER:
                    raise self._failed(f"{content} is beyond 2^53")
                return float(content)
            case "LIST":
                return [self._plain(item) for item in content]
            case "MAP":
                if not all(isinstance(key, str) for key in content):
                    raise self._failed("the keys of an object must be strings")
                return {key: self._plain(item) for key, item in content.items()}
            case "TIMESTAMP":
                time: datetime = content
                return time.astimezone(UTC).isoformat().replace("+00:00", "Z")
            case "DURATION":
                duration: timedelta = content
                return f"{duration.total_seconds():.6f}".rstrip("0").rstrip(".") + "s"
            case "ERROR":
                raise self._failed(plainly(str(content)))
            case _:
                raise self._failed(f"the result is of type {kind.lower()}, which is no JSON")

    def _failed(self, problem: str) -> ExpressionFailed:
        return ExpressionFailed(self._text, problem)


def _number_problems(tokens: list[Token], variables: list[Reference]) -> list[str]:
    """Find arithmetic of data with a whole number, for which CEL has no operator."""
    problems = []
    for variable in variables:
        name = ".".join(variable.path)
        after, before = variable.last + 1, variable.first - 1
        called = any(is_sign(tokens, after, sign) for sign in ".[(")
        for sign, number in ((after, after + 1), (before, before - 1)):
            if not _is_operation(tokens, sign, number) or (sign == before and called):
                continue
            whole = tokens[number].text
            fix = f"`int({name})`" if tokens[sign].text == "%" else f"`{whole}.0`, not `{whole}`"
            problems.append(f"`{name}` is a double, like every number in data: write {fix}")
    return problems


def _is_operation(tokens: list[Token], sign: int, number: int) -> bool:
    """Tell whether a whole number stands at `number`, joined by the operator at `sign`."""
    return (
        0 <= number < len(tokens)
        and tokens[number].kind is Kind.INTEGER
        and tokens[sign].kind is Kind.SIGN
        and tokens[sign].text in "+-*/%"
    )

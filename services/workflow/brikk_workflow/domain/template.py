"""Values whose strings hold `${expressions}`: inputs of steps and outputs of executions."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from brikk_shared.cel.tokens import tokenize
from brikk_shared.errors import Reason
from brikk_shared.path import Path
from brikk_workflow.domain.expression import Expression, ExpressionInvalid, compile_expression
from brikk_workflow.domain.payload import LARGEST_INTEGER, MAX_BYTES, Json, PayloadRefused
from brikk_workflow.domain.scope import Scope

_OPENING = re.compile(r"\$?\$\{")


class TemplateInvalid(Exception):
    """Expressions of a template are not accepted: each problem with the path to its string.

    `expressions` are the others.
    """

    def __init__(
        self, problems: list[tuple[Path, str]], expressions: list[tuple[Path, Expression]]
    ) -> None:
        super().__init__("; ".join(message for _, message in problems))
        self.problems = problems
        self.expressions = expressions


class Template:
    """A compiled value. `expressions` are what it evaluates, each with the path to its string."""

    __slots__ = ("_root", "expressions")

    def __init__(self, root: _Node, expressions: list[tuple[Path, Expression]]) -> None:
        self._root = root
        self.expressions = expressions

    def render(self, scope: Scope) -> Json:
        """Return the value with its expressions evaluated; it may share parts with the scope.

        Raises ExpressionFailed, and PayloadRefused once its texts exceed the size of a payload.
        """
        return _Rendering(scope).render(self._root)


def compile_template(value: Json, variables: Collection[str] = ()) -> Template:
    """Compile a value; `variables` are those that the steps around it declare.

    Raises TemplateInvalid with every problem found.
    """
    compiler = _Compiler(variables)
    root = compiler.compile(value, ())
    if compiler.problems:
        raise TemplateInvalid(compiler.problems, compiler.expressions)
    return Template(root, compiler.expressions)


@dataclass(frozen=True, slots=True)
class _Constant:
    value: Json


@dataclass(frozen=True, slots=True)
class _Text:
    parts: tuple[str | Expression, ...]


@dataclass(frozen=True, slots=True)
class _List:
    items: tuple[_Node, ...]


@dataclass(frozen=True, slots=True)
class _Object:
    members: tuple[tuple[str, _Node], ...]


_Node: TypeAlias = "_Constant | Expression | _Text | _List | _Object"


class _Compiler:
    def __init__(self, variables: Collection[str]) -> None:
        self._variables = variables
        self.problems: list[tuple[Path, str]] = []
        self.expressions: list[tuple[Path, Expression]] = []

    def compile(self, value: Json, path: Path) -> _Node:
        if isinstance(value, str):
            return self._text(value, path)
        if isinstance(value, Mapping):
            members = [(key, self.compile(item, (*path, key))) for key, item in value.items()]
            whole = {key: node.value for key, node in members if isinstance(node, _Constant)}
            return _Constant(whole) if len(whole) == len(members) else _Object(tuple(members))
        if isinstance(value, Sequence):
            items = [self.compile(item, (*path, index)) for index, item in enumerate(value)]
            known = [node.value for node in items if isinstance(node, _Constant)]
            return _Constant(known) if len(known) == len(items) else _List(tuple(items))
        return _Constant(value)

    def _text(self, text: str, path: Path) -> _Node:
        parts: list[str | Expression] = []
        end = 0
        while opening := _OPENING.search(text, end):
            parts.append(text[end : opening.start()])
            if opening.group() == "$${":
                parts.append("${")
                end = opening.end()
                continue
            end = _closing(text, opening.end())
            if end < 0:
                self.problems.append((path, "`${` is not closed by `}`; write `$${` for the text"))
                return _Constant(None)
            parts += self._expression(text[opening.end() : end - 1].strip(), path)
        parts.append(text[end:])
        parts = [part for part in parts if part != ""]
        if len(parts) == 1 and isinstance(parts[0], Expression):
            return parts[0]
        if any(isinstance(part, Expression) for part in parts):
            return _Text(tuple(parts))
        return _Constant("".join(map(str, parts)))

    def _expression(self, text: str, path: Path) -> list[Expression]:
        if not text:
            self.problems.append((path, "`${}` holds no expression"))
            return []
        try:
            expression = compile_expression(text, self._variables)
        except ExpressionInvalid as error:
            self.problems += [(path, f"`{text}`: {problem}") for problem in error.problems]
            return []
        self.expressions.append((path, expression))
        return [expression]


def _closing(text: str, start: int) -> int:
    """Return the index after the brace that closes an expression, -1 if none does."""
    depth = 0
    for token in tokenize(text, start):
        if token.text == "{":
            depth += 1
        elif token.text == "}":
            if depth == 0:
                return token.end
            depth -= 1
    return -1


class _Rendering:
    """One rendering: short templates can repeat long texts, so it counts what it writes."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._left = MAX_BYTES

    def render(self, node: _Node) -> Json:
        if isinstance(node, Expression):
            return node.evaluate(self._scope)
        if isinstance(node, _Constant):
            return node.value
        if isinstance(node, _Object):
            return {name: self.render(member) for name, member in node.members}
        if isinstance(node, _List):
            return [self.render(item) for item in node.items]
        written = []
        for part in node.parts:
            text = part if isinstance(part, str) else as_text(part.evaluate(self._scope))
            self._left -= len(text)
            if self._left < 0:
                raise PayloadRefused(
                    Reason.PAYLOAD_TOO_LARGE,
                    "the text",
                    "is too large",
                    limit=f"{MAX_BYTES} bytes",
                )
            written.append(text)
        return "".join(written)


def as_text(value: Json) -> str:
    """Return a value as it appears within a text: strings as they are, everything else as JSON."""
    return (
        value if isinstance(value, str) else json.dumps(_without_zeros(value), ensure_ascii=False)
    )


def _without_zeros(value: Json) -> Json:
    """Return the value with whole numbers as people write them: 3, not 3.0."""
    if isinstance(value, float) and value.is_integer() and abs(value) <= LARGEST_INTEGER:
        return int(value)
    if isinstance(value, Mapping):
        return {name: _without_zeros(member) for name, member in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_without_zeros(item) for item in value]
    return value

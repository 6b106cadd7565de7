"""Expressions of the workflow language: CEL over input, steps, execution and state."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from brikk_shared.cel import expression as cel
from brikk_shared.cel.expression import ExpressionFailed, ExpressionInvalid, Parsed, Vocabulary
from brikk_shared.cel.tokens import Reference

__all__ = ["Expression", "ExpressionFailed", "ExpressionInvalid", "compile_expression"]


class Expression(cel.Expression):
    """A compiled expression of a workflow.

    `members` are the ids of the steps that it reads, each with `output` or `error`, `steps` the ids
    alone.
    """

    __slots__ = ("members", "steps")

    def __init__(self, parsed: Parsed) -> None:
        super().__init__(parsed)
        paths = [reference.path for reference in parsed.references]
        self.members = tuple({path[1:3]: None for path in paths if path[0] == "steps"})
        self.steps = tuple({step: None for step, _ in self.members})


def compile_expression(text: str, variables: Iterable[str] = ()) -> Expression:
    """Compile an expression; `variables` are those that the steps around it declare.

    Raises ExpressionInvalid with every problem found.
    """
    return Expression(cel.parse(text, _VOCABULARY, tuple(variables)))


def _step_problems(references: Sequence[Reference]) -> list[str]:
    return [
        f"`{'.'.join(reference.path)}` is not readable: write `steps.<id>.output`, or `.error` for"
        " what it failed with"
        for reference in references
        if reference.path[0] == "steps" and reference.path[2:3] not in (("output",), ("error",))
    ]


_VOCABULARY = Vocabulary(
    variables=("input", "steps", "execution", "state"),
    reserved={"loop": "there is no `loop` here: the steps inside a map or a loop read it"},
    check=_step_problems,
)

"""Expressions: what they read, what they refuse, and what they must never do to the process."""

from __future__ import annotations

import sys

import pytest

from brikk_workflow.domain.expression import (
    ExpressionFailed,
    ExpressionInvalid,
    compile_expression,
)
from brikk_workflow.domain.payload import Json
from brikk_workflow.domain.scope import Scope

SCOPE = Scope(
    input={
        "n": 3.0,
        "text": "hello",
        "yes": True,
        "none": None,
        "odd key": "odd",
        "items": [{"p": 1.0, "t": "a"}, {"p": 2.0, "t": "b"}],
    },
    outputs={"a": {"score": 0.5, "tags": ["x", "y"]}, "skipped": None},
    execution={"id": "e1", "workflow": "w", "version": 2.0},
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("input.n", 3.0),
        ("input", SCOPE.input),
        ("input.items[1].t", "b"),
        ("input['odd key']", "odd"),
        ("input.none", None),
        ("steps.a.output", SCOPE.outputs["a"]),
        ("steps.a.output.tags[0]", "x"),
        ("steps.skipped.output", None),
        ("execution.id", "e1"),
        ("input.n + 1.0", 4.0),
        ("input.n == 3", True),
        ("input.n > 2 && input.yes", True),
        ("steps.skipped.output == null", True),
        ("has(input.nothing)", False),
        ("has(steps.a.output.score)", True),
        ("input.?nothing.orValue('none')", "none"),
        ("steps.a.output.?score.orValue(0.0)", 0.5),
        ("size(input.items) + 1", 3.0),
        ("input.items.filter(i, i.p > 1).map(i, i.t)", ["b"]),
        ("input.items.map(i, i.t).join(', ')", "a, b"),
        ("input.items.map(i, i.p + 1.0)", [2.0, 3.0]),
        ("input.items.exists(i, i.t == 'a')", True),
        ("'x' in steps.a.output.tags", True),
        ("input.yes ? 'on' : 'off'", "on"),
        ("{'a': [input.n, null]}", {"a": [3.0, None]}),
        ("input.text.upperAscii()", "HELLO"),
        ("input.text.matches('^h.*o$')", True),
        ("input.text.replace('l', 'L')", "heLLo"),
        ("math.ceil(input.n / 2.0)", 2.0),
        ("int(input.n) % 2 == 1", True),
        ("timestamp('2026-01-01T00:00:00Z')", "2026-01-01T00:00:00Z"),
        ("duration('90s')", "90s"),
        ("duration('1500ms')", "1.5s"),
        ("input . text\n  // a comment\n", "hello"),
        ("'input.nothing'", "input.nothing"),
        (".input.text", "hello"),
    ],
)
def test_values(text: str, value: Json) -> None:
    assert compile_expression(text).evaluate(SCOPE) == value


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("input.nothing", "input has no member 'nothing'"),
        ("input.nothing.more == 1", 'Key not found in map : "nothing"'),
        ("input.text.size", "input.text is a string, not an object"),
        ("input.items[2]", "input.items has only 2 items"),
        ("input.text[0]", "input.text is a string, not a list"),
        ("steps.skipped.output.score", "steps.skipped.output is null, not an object"),
        ("input.n + int('1')", "numbers in data are doubles: write 1.0 instead of 1"),
        ("1.0 / 0.0", "the result is not a finite number"),
        ("1 / 0", "divide by zero"),
        ("9007199254740993", "9007199254740993 is beyond 2^53"),
        ("b'bytes'", "the result is of type bytes, which is no JSON"),
        ("type(input.n)", "the result is of type type, which is no JSON"),
        ("{1: 'a'}", "the keys of an object must be strings"),
        ("dyn(optional.none())", "end it with `.orValue(...)`"),
        ("[optional.of(1)]", "end it with `.orValue(...)`"),
        ("input.text.matches('(')", "missing ): ("),
    ],
)
def test_failures(text: str, problem: str) -> None:
    expression = compile_expression(text)
    with pytest.raises(ExpressionFailed) as failed:
        expression.evaluate(SCOPE)
    assert problem in failed.value.message
    assert failed.value.metadata == {"expression": text}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "it ends too early"),
        ("1 +", "at character 4: it ends too early"),
        ("nope.x == 1", "there is no `nope`; expressions read input, steps, execution and state"),
        ("input.n + 1", "`input.n` is a double, like every number in data: write `1.0`, not `1`"),
        ("2 * input.n", "`input.n` is a double, like every number in data: write `2.0`, not `2`"),
        ("input.n % 2", "`input.n` is a double, like every number in data: write `int(input.n)`"),
        ("steps.a", "`steps.a` is not readable: write `steps.<id>.output`"),
        ("steps['a'].output", "`steps` is not readable: write `steps.<id>.output`"),
        ("steps.a.score", "`steps.a.score` is not readable: write `steps.<id>.output`"),
        ("input.?x", "is optional: end it with `.orValue(...)`"),
        ("'a' + 1", "found no matching overload for '_+_' applied to '(string, int)'"),
        ("'\x00'", "holds a NUL or half a surrogate pair"),
        ("'\ud800'", "holds a NUL or half a surrogate pair"),
        ("'" + "a" * 5000 + "'", "is longer than 4096 characters"),
        ("(" * 200 + "1" + ")" * 200, "it nests too deeply"),
    ],
)
def test_refusals(text: str, problem: str) -> None:
    with pytest.raises(ExpressionInvalid) as refused:
        compile_expression(text)
    assert any(problem in each for each in refused.value.problems), refused.value.problems


@pytest.mark.parametrize(
    "text",
    [
        "size(input.items) * 2",
        "2 * input.text.size()",
        "1 - input.items[0].p",
        "input.items.size() - 1",
    ],
)
def test_whole_numbers_are_refused_only_beside_data(text: str) -> None:
    compile_expression(text)


def test_the_steps_that_an_expression_reads() -> None:
    expression = compile_expression(
        "steps.b.output.x > 1 || has(steps.a.output) || 'steps.c.output' == '' || steps.b.output.y"
    )
    assert expression.steps == ("b", "a")


INSIDE = Scope(
    input={"xs": [1.0, 2.0]},
    outputs={"a": None, "b": {"n": 4.0}},
    execution={},
    state={"turns": 3.0, "log": ["x"]},
    errors={"a": {"code": "ABORTED", "reason": "BUSY", "message": "no", "attempts": 2.0}},
    variables={"ticket": {"body": "hello"}, "loop": {"index": 2.0, "last": {"ok": True}}},
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("loop.index", 2.0),
        ("loop.index + 1.0", 3.0),
        ("loop.last.ok && !has(loop.last.done)", True),
        ("input.xs.map(x, x * loop.index)", [2.0, 4.0]),
        ("'loop.index'", "loop.index"),
        ("ticket", {"body": "hello"}),
        ("ticket.body.size() + int(loop.index)", 7.0),
        ("input.xs.map(ticket, ticket * 2.0)", [2.0, 4.0]),
        ("input.xs.map(state, state * 2.0)", [2.0, 4.0]),
        ("state.turns", 3.0),
        ("state.?thread.orValue([])", []),
        ("state.turns < 5 && size(state.log) == 1", True),
        ("steps.a.error.code", "ABORTED"),
        ("steps.a.error != null && steps.b.error == null", True),
        ("steps.a.error.attempts + steps.b.output.n", 6.0),
        ("steps.b.error", None),
    ],
)
def test_what_the_steps_around_declare(text: str, value: Json) -> None:
    assert compile_expression(text, ("ticket", "loop")).evaluate(INSIDE) == value


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("loop.index", "there is no `loop` here"),
        ("while > 1", "`while` is a word that CEL keeps for itself"),
        ("Loop.index", "there is no `Loop`"),
        ("l__p.index", "there is no `l__p`"),
        ("ticket.x == 1", "expressions read input, steps, execution and state here"),
        ("steps.a.failure", "`steps.a.failure` is not readable"),
    ],
)
def test_what_they_do_not_declare(text: str, problem: str) -> None:
    with pytest.raises(ExpressionInvalid) as refused:
        compile_expression(text)
    assert any(problem in each for each in refused.value.problems), refused.value.problems


def test_where_a_reserved_word_stands_the_place_of_a_problem_is_right() -> None:
    with pytest.raises(ExpressionInvalid) as refused:
        compile_expression("loop.index > loop.last && nope", ("item", "loop"))
    assert refused.value.problems == [
        "at character 27: there is no `nope`; expressions read input, steps, execution, state,"
        " item and loop here"
    ]


def test_the_variables_that_an_expression_reads() -> None:
    text = "ticket.body == state.last || steps.a.error.code in input.codes.map(state, state)"
    assert compile_expression(text, ("ticket",)).reads == {"ticket", "state", "steps", "input"}


def test_conditions_must_be_boolean() -> None:
    assert compile_expression("input.yes").holds(SCOPE)
    with pytest.raises(ExpressionFailed, match="the condition is a string, not a boolean"):
        compile_expression("input.text").holds(SCOPE)


def test_the_type_is_told_where_it_is_known() -> None:
    assert compile_expression("input.n > 1").type == "BOOL"
    assert compile_expression("input.n").type == "DYN"
    assert compile_expression("[1]").type == "LIST"


def scope(**values: Json) -> Scope:
    return Scope(input=values, outputs={}, execution={})


def test_only_what_is_named_is_read() -> None:
    huge: list[Json] = [1.0] * 100_000
    assert compile_expression("input.a + 1.0").evaluate(scope(a=1.0, huge=huge)) == 2.0
    assert compile_expression("input.huge[99999]").evaluate(scope(huge=huge)) == 1.0


def test_long_lists_are_refused_before_they_hold_the_process() -> None:
    expression = compile_expression("input.l.map(x, x)")
    assert expression.evaluate(scope(l=[1.0] * 1000)) == [1.0] * 1000
    with pytest.raises(ExpressionFailed, match="reads a list of 1001 items; at most 1000"):
        expression.evaluate(scope(l=[1.0] * 1001))


def test_much_data_is_refused() -> None:
    expression = compile_expression("size(input.l)")
    many: list[Json] = [[1.0] * 100] * 101
    for value in (many, ["x" * (1 << 18) + "x"], [{"x" * (1 << 18) + "x": None}]):
        with pytest.raises(ExpressionFailed, match="more data than one expression may"):
            expression.evaluate(scope(l=value))


def test_turns_are_bounded() -> None:
    expression = compile_expression("input.l.map(a, input.l.map(b, a))")
    with pytest.raises(ExpressionFailed, match="too many turns"):
        expression.evaluate(scope(l=[1.0] * 101))


def test_results_are_bounded() -> None:
    items = ", ".join(["a"] * 100)
    expression = compile_expression(f"input.l.map(a, [{items}])")
    with pytest.raises(ExpressionFailed, match="more data than one expression may"):
        expression.evaluate(scope(l=["x" * 1000] * 100))


def test_a_million_nulls() -> None:
    """Asked wrongly, the runtime loses a reference to None for each null on Python 3.11."""
    nulls: list[Json] = [None] * 1000
    expression = compile_expression("true ? input.l : null")
    single = compile_expression("input.yes ? null : input.l")
    before = sys.getrefcount(None)
    for _ in range(1000):
        assert expression.evaluate(scope(l=nulls)) == nulls
        assert single.evaluate(scope(yes=True, l=nulls)) is None
    assert abs(sys.getrefcount(None) - before) < 1000

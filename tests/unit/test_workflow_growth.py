"""Expressions that could end the process by their memory are refused before they run."""

from __future__ import annotations

import pytest

from brikk_workflow.domain.expression import ExpressionInvalid, compile_expression


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[input.s]" + ".map(a, a + a)" * 20 + "[0].size()", "joins with `+` beside a list macro"),
        ("[input.s]" + ".map(a, a)" * 5, "uses 5 list macros; at most 4 are accepted"),
        ("[[1.0]].map(a, a + a)", "joins with `+` beside a list macro"),
        (
            "input.l.map(a, [a, a, a, a, a, a, a, a, a, a])"
            + ".map(a, [a, a, a, a, a, a, a, a, a, a, a])"
            + ".map(a, [a, a, a, a, a, a, a, a, a, a])",
            "repeats the variables of its list macros",
        ),
        ("'a'" + ".replace('a', 'aaaaaaaa')" * 3, "may make a value 512 times as large"),
        ("input.s.replace('a', input.s)", "may make a value 258 times as large"),
        ("input.s.split('').join(input.s)", "may make a value 258 times as large"),
        (f"[{', '.join(['input.s'] * 129)}]", "may make a value 129 times as large"),
        ("strings.quote(input.s)", "uses `strings.quote`"),
        ("input.s.split('').map(a, a)", "uses `split` beside a list macro without a limit"),
        ("input.s.split('', 1001).map(a, a)", "uses `split` beside a list macro without a limit"),
        ("input.l.map(a, '%s%s'.format([a, a]))", "uses `format` beside a list macro"),
        ("optional.of(input.s).optMap(a, a + a).value()", "joins with `+` beside a list macro"),
    ],
)
def test_refused(text: str, problem: str) -> None:
    with pytest.raises(ExpressionInvalid) as refused:
        compile_expression(text)
    assert any(problem in each for each in refused.value.problems), refused.value.problems


@pytest.mark.parametrize(
    "text",
    [
        "input.l.filter(a, a.score > 0.5).map(a, {'title': a.title, 'url': a.url})",
        "input.l.map(a, a.price + 1.0)",
        "input.l.map(a, 1.0 + a.price)",
        "input.l.map(a, a.price + -1.0)",
        "input.l.map(a, a.name).join(', ')",
        "input.s.split(',', 100).map(a, a.trim())",
        "input.s.replace('a', 'b').replace('c', 'd').replace('e', 'f').replace('g', 'h')",
        "input.s + input.t + '!'",
        "'%s: %s'.format([input.s, input.t])",
        "input.a.exists(x, x > 1) && input.b.all(x, x < 3) && input.c.exists(x, x == 'y')",
    ],
)
def test_accepted(text: str) -> None:
    compile_expression(text)

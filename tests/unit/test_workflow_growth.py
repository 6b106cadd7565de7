"""Expressions that could end the process by their memory are refused before they run."""

from __future__ import annotations

import pytest

from brikk_workflow.domain.expression import ExpressionInvalid, compile_expression

JOINS = "a `+` that could join lists"
OUTSIDE = "makes texts and reads more than `a` for each `a`"
SPLITS = "splits into a list without a limit"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[input.s]" + ".map(a, a + a)" * 20 + "[0].size()", JOINS),
        ("[[1.0]].map(a, a + a)", JOINS),
        ("(input.l + input.m).map(a, a)", JOINS),
        ("input.l.map(a, (a.x + a.y).map(b, b))", JOINS),
        ("(input.l + 'x'.split('', 9)).map(a, a)", JOINS),
        ("optional.of(input.s).optMap(a, a + a).value()", JOINS),
        ("[input.s]" + ".map(a, a)" * 5, "has 5 list macros; 4 are the most"),
        ("[1]" + ".map(a, [a, a, a, a, a, a])" * 4, "repeats the variables of its list macros"),
        ("[input.s]" + ".map(a, a + '' + a + '' + a + '' + a)" * 4, "256 times as large"),
        ("'a'" + ".replace('a', 'aaaaaaaa')" * 3, "512 times as large"),
        ("input.s.replace('a', input.s)", "258 times as large"),
        ("input.s.split('').join(input.s)", "258 times as large"),
        (f"[{', '.join(['input.s'] * 129)}]", "129 times as large"),
        ("strings.quote(input.s)", "calls `strings.quote`, which is not available"),
        ("input.s.split('').map(a, a)", SPLITS),
        ("input.s.split('', 1001).map(a, a)", SPLITS),
        ("input.s.split('', input.n).map(a, a)", SPLITS),
        ("input.l.map(a, input.s.upperAscii())", OUTSIDE),
        ("input.l.map(a, '' + input.s)", OUTSIDE),
        ("input.l.map(a, '%s'.format([input.s]))", OUTSIDE),
        ("[input.s].map(b, input.l.map(a, b.trim()))", OUTSIDE),
        ("[input.s].map(a, input.l.map(b, b.trim()))", OUTSIDE),
        ("input.l.map(a, input.s).join('')", OUTSIDE),
        ("input.l.map(a, input.s).filter(b, b.trim() != '')", OUTSIDE),
        ("input.l.filter(a, a.name.trim() == input.name)", OUTSIDE),
        ("input.s.split(',')", SPLITS),
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
        "input.l.map(a, a.name).join(', ') + '!'",
        "input.l.map(a, a.name + ': ' + a.title)",
        "input.l.map(a, '%s: %s'.format([a.name, a.title]))",
        "input.l.filter(a, a.kind == input.kind).map(a, a.name.trim())",
        "input.l.map(a, {'name': a.name, 'kind': input.kind})",
        "input.l.map(a, a.parts.map(b, b.trim()))",
        "[input.s]" + ".map(a, a + '' + a)" * 4,
        "input.l + input.m",
        "input.s.split(',', 100).map(a, a.trim())",
        "input.s.replace('a', 'b').replace('c', 'd').replace('e', 'f').replace('g', 'h')",
        "input.s + input.t + '!'",
        "'%s: %s'.format([input.s, input.t])",
        "input.a.exists(x, x > 1) && input.b.all(x, x < 3) && input.c.exists(x, x == 'y')",
    ],
)
def test_accepted(text: str) -> None:
    compile_expression(text)

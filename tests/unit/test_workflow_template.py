"""Values whose strings hold expressions."""

from __future__ import annotations

import pytest

from brikk_shared.errors import Reason
from brikk_workflow.domain.payload import Json, PayloadRefused
from brikk_workflow.domain.scope import Scope
from brikk_workflow.domain.template import TemplateInvalid, compile_template

SCOPE = Scope(
    input={
        "n": 3.0,
        "half": 0.5,
        "text": "hello",
        "l": [1.0, "x", None],
        "yes": True,
        "none": None,
    },
    outputs={"a": {"k": {"deep": [2.0]}}},
    execution={"id": "e1"},
)


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("plain", "plain"),
        ("${input.n}", 3.0),
        ("${input.l}", [1.0, "x", None]),
        ("${ input.none }", None),
        ("n=${input.n} half=${input.half}", "n=3 half=0.5"),
        ("${input.text}${input.text}", "hellohello"),
        ("yes=${input.yes} none=${input.none}", "yes=true none=null"),
        ("l=${input.l} a=${steps.a.output}", 'l=[1, "x", null] a={"k": {"deep": [2]}}'),
        ("$${input.n}", "${input.n}"),
        ("$$${input.n}", "$${input.n}"),
        ("a $ b ${input.n} $", "a $ b 3 $"),
        ("${'}'}", "}"),
        ("${'a' + \"}\"} x", "a} x"),
        ("${{'a': {'b': input.n}}}", {"a": {"b": 3.0}}),
        ("${{'a': 1.0}.a} is 1", "1 is 1"),
        ("${r'\\d}'}", "\\d}"),
        (
            {"a": ["${input.n}", {"b": "${input.text}!"}], "c": 1.0},
            {"a": [3.0, {"b": "hello!"}], "c": 1.0},
        ),
        ({"${input.n}": 1.0}, {"${input.n}": 1.0}),
        ([], []),
        (None, None),
        (True, True),
    ],
)
def test_rendering(template: Json, value: Json) -> None:
    assert compile_template(template).render(SCOPE) == value


def test_every_problem_is_found_with_its_path() -> None:
    template: Json = {
        "a": "${nope}",
        "b": ["${", {"c": "${}"}],
        "d": "${input.n} ${input.}",
        "e": "${steps.x.output}",
    }
    with pytest.raises(TemplateInvalid) as invalid:
        compile_template(template)
    assert [path for path, _ in invalid.value.problems] == [
        ("a",),
        ("b", 0),
        ("b", 1, "c"),
        ("d",),
    ]
    assert invalid.value.problems[1][1] == "`${` is not closed by `}`; write `$${` for the text"
    assert [(path, each.text) for path, each in invalid.value.expressions] == [
        (("d",), "input.n"),
        (("e",), "steps.x.output"),
    ]


def test_a_text_full_of_quotes_is_read_in_linear_time() -> None:
    with pytest.raises(TemplateInvalid, match="is not closed"):
        compile_template("${" + '"\\' * 500_000)


def test_a_short_template_cannot_write_a_long_text() -> None:
    scope = Scope(input={"s": "x" * 100_000}, outputs={}, execution={})
    template = compile_template({str(number): "${input.s} ${input.s}" for number in range(100)})
    with pytest.raises(PayloadRefused) as refused:
        template.render(scope)
    assert refused.value.reason is Reason.PAYLOAD_TOO_LARGE

"""Which events a webhook's types, channels and condition let pass."""

from __future__ import annotations

from dataclasses import replace

import pytest

from brikk_shared.cel.expression import ExpressionInvalid
from brikk_webhooks.domain.selection import (
    FilterFailed,
    compile_filter,
    in_channel,
    matches,
    passes,
    scope_of,
)
from support.webhook_queue import EVENT as ANY

SUCCEEDED = "brikk.execution.succeeded.v1"


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (["*"], True),
        ([SUCCEEDED], True),
        (["brikk.*"], True),
        (["brikk.execution.*"], True),
        (["brikk.execution.succeeded.*"], True),
        (["brikk.step.*", "brikk.execution.*"], True),
        (["brikk.execution"], False),
        (["brikk.execution.succeeded.v1.*"], False),
        (["brikk.exec.*"], False),
        (["brikk.execution.succeeded.v11"], False),
        (["brikk.step.*"], False),
        ([], False),
    ],
)
def test_filters(filters: list[str], expected: bool) -> None:
    assert matches(filters, SUCCEEDED) is expected


EVENT = replace(
    ANY,
    sequence=3,
    data={
        "workflow": "triage",
        "duration_ms": 1200.0,
        "labels": {"team": "ops"},
        "agents": ["a", "b"],
        "error": None,
    },
)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("event.data.duration_ms > 1000", True),
        ('event.data.workflow == "triage"', True),
        ('event.type.endsWith(".succeeded.v1")', True),
        ('event.subject == "executions/x1" && event.organization == "acme"', True),
        ("event.data.duration_ms > 1000.0", True),
        ("event.sequence >= 3.0", True),
        ('timestamp(event.time) > timestamp("2025-12-31T00:00:00Z")', True),
        ('"b" in event.data.agents', True),
        ('event.data.labels["team"] == "desk"', False),
        ("has(event.data.cost) && event.data.cost > 1.0", False),
        ("event.data.error == null", True),
    ],
)
def test_conditions(condition: str, expected: bool) -> None:
    assert passes(condition, scope_of(EVENT)) is expected


@pytest.mark.parametrize(
    "condition",
    [
        "event.data.cost > 1.0",
        "!(event.data.cost > 1.0)",
        "event.data.workflow",
        "event.data.workflow > 1.0",
    ],
)
def test_a_condition_that_fails_says_so(condition: str) -> None:
    with pytest.raises(FilterFailed):
        passes(condition, scope_of(EVENT))


def test_an_event_with_too_much_to_read_fails_it() -> None:
    large = replace(EVENT, data={"list": ["a"] * 501, "text": "a" * 40_000, "small": ["a"]})
    for condition in ('"a" in event.data.list', "event.data.text.startsWith('a')"):
        with pytest.raises(FilterFailed):
            passes(condition, scope_of(large))
    assert passes('"a" in event.data.small', scope_of(large))


@pytest.mark.parametrize(
    ("condition", "problem"),
    [
        ("event.data.x + 'a'", "is no condition: it gives string"),
        ("1.0", "is no condition: it gives double"),
        ('event.data.agents.exists(a, a == "x")', "list macro"),
        ("steps.a.output", "there is no `steps`; expressions read event here"),
        ("loop", "is a word that CEL keeps for itself"),
        ("event.type ==", "too early"),
    ],
)
def test_what_is_no_condition(condition: str, problem: str) -> None:
    with pytest.raises(ExpressionInvalid) as refused:
        compile_filter(condition)
    assert problem in str(refused.value)
    # One that an earlier version accepted lets nothing pass.
    with pytest.raises(FilterFailed):
        passes(condition, scope_of(EVENT))


@pytest.mark.parametrize(
    ("channels", "named", "expected"),
    [
        ([], None, True),
        (["ops"], ["desk", "ops"], True),
        (["ops", "desk"], ["desk"], True),
        (["ops"], ["desk"], False),
        (["ops"], None, False),
        (["ops"], "ops", False),
        (["ops"], [1.0, {}], False),
    ],
)
def test_channels(channels: list[str], named: object, expected: bool) -> None:
    assert in_channel(channels, {} if named is None else {"channels": named}) is expected

"""Definitions as people and programs write them: what they mean, and what is wrong with them."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brikk_shared.selection import Policy
from brikk_workflow.domain.compiled import CompiledWorkflow
from brikk_workflow.domain.definition import (
    AtMostOnce,
    Budget,
    RetryPolicy,
    Step,
    StepTimeout,
    WorkflowDefinition,
)
from brikk_workflow.domain.definition_json import definition_from_json, definition_to_json
from brikk_workflow.domain.kinds import CallStep
from brikk_workflow.domain.source import Problem, read_message, read_yaml

FULL = """
name: triage
description: Sorts tickets.
input_schema: {type: object, properties: {n: {type: integer, minimum: 1}}}
timeout: 10m
budget: {calls: 200, tokens: 500000, cost: 2.05}
concurrency: 4
steps:
  - id: a
    call: {capability: t.a, input: {n: 3, text: "${input.text}"}}
    retry:
      {max_attempts: 4, initial: 1s, multiplier: 1.5, max: 90s, jitter: 0, non_retryable: [ABORTED]}
    timeout:
      {schedule_to_start: 0s, start_to_close: 1.5s, schedule_to_close: 1h, heartbeat: 500ms}
    at_most_once: suspend
  - id: b
    when: input.n > 1
    call: {capability: t.b}
  - id: c
    after: [a]
    call: {capability: t.c, policy: round_robin}
output: [yes, "${steps.c.output}", 1.5, true, null, {a: -2e3}]
"""

PLAIN = "{name: plain, steps: [{id: a, call: {capability: t.a}}]}"

DEFINITION = WorkflowDefinition(
    id="triage",
    description="Sorts tickets.",
    input_schema={"type": "object", "properties": {"n": {"type": "integer", "minimum": 1.0}}},
    timeout=timedelta(minutes=10),
    budget=Budget(calls=200, tokens=500_000, cost_micros=2_050_000),
    concurrency=4,
    steps=(
        Step(
            id="a",
            kind=CallStep(capability="t.a", input={"n": 3.0, "text": "${input.text}"}),
            retry=RetryPolicy(
                max_attempts=4,
                initial=timedelta(seconds=1),
                multiplier=1.5,
                max=timedelta(seconds=90),
                jitter=0.0,
                non_retryable=("ABORTED",),
            ),
            timeout=StepTimeout(
                schedule_to_start=timedelta(),
                start_to_close=timedelta(seconds=1.5),
                schedule_to_close=timedelta(hours=1),
                heartbeat=timedelta(milliseconds=500),
            ),
            at_most_once=AtMostOnce.SUSPEND,
        ),
        Step(id="b", after=("a",), when="input.n > 1", kind=CallStep(capability="t.b")),
        Step(id="c", after=("a",), kind=CallStep(capability="t.c", policy=Policy.ROUND_ROBIN)),
    ),
    output=["yes", "${steps.c.output}", 1.5, True, None, {"a": -2000.0}],
)

MESSAGE: dict[str, object] = {
    "name": "triage",
    "description": "Sorts tickets.",
    "input_schema": {"type": "object", "properties": {"n": {"type": "integer", "minimum": 1.0}}},
    "timeout": timedelta(minutes=10),
    "budget": {"calls": 200, "tokens": 500_000, "cost": 2.05},
    "concurrency": 4,
    "steps": [
        {
            "id": "a",
            "call": {"capability": "t.a", "input": {"n": 3.0, "text": "${input.text}"}},
            "retry": {
                "max_attempts": 4,
                "initial": timedelta(seconds=1),
                "multiplier": 1.5,
                "max": timedelta(seconds=90),
                "jitter": 0.0,
                "non_retryable": ["ABORTED"],
            },
            "timeout": {
                "schedule_to_start": timedelta(),
                "start_to_close": timedelta(seconds=1.5),
                "schedule_to_close": timedelta(hours=1),
                "heartbeat": timedelta(milliseconds=500),
            },
            "at_most_once": "suspend",
        },
        {"id": "b", "when": "input.n > 1", "call": {"capability": "t.b"}},
        {"id": "c", "after": ["a"], "call": {"capability": "t.c", "policy": "round_robin"}},
    ],
    "output": ["yes", "${steps.c.output}", 1.5, True, None, {"a": -2000.0}],
}


def accepted(read: CompiledWorkflow | list[Problem]) -> WorkflowDefinition:
    assert isinstance(read, CompiledWorkflow), read
    return read.definition


def told(yaml: str) -> list[str]:
    read = read_yaml(yaml)
    assert isinstance(read, list)
    return [f"{each.line}:{each.column} {each.path}: {each.message}" for each in read]


def test_a_definition_in_both_forms() -> None:
    assert accepted(read_yaml(FULL)) == DEFINITION
    assert accepted(read_message(MESSAGE)) == DEFINITION


def test_the_stored_form_gives_the_definition_back() -> None:
    stored = json.dumps(definition_to_json(DEFINITION))
    assert definition_from_json(json.loads(stored)) == DEFINITION


def test_what_came_later_is_not_stored_at_its_default() -> None:
    stored = definition_to_json(accepted(read_yaml(PLAIN)))
    assert stored.keys() == {"id", "description", "input_schema", "timeout", "steps", "output"}
    (step,) = stored["steps"]
    assert step.keys() == {"id", "after", "when", "capability", "input", "retry", "timeout"}
    assert step["timeout"].keys() == {"schedule_to_start", "start_to_close", "schedule_to_close"}
    assert definition_from_json(stored) == accepted(read_yaml(PLAIN))


def test_defaults() -> None:
    read = accepted(read_yaml("name: x\nsteps: [{id: a, call: {capability: t.a}}]"))
    assert read == WorkflowDefinition(
        id="x",
        timeout=timedelta(days=1),
        steps=(Step(id="a", kind=CallStep(capability="t.a", input={})),),
    )
    assert read.steps[0].retry == RetryPolicy()
    assert read.steps[0].timeout == StepTimeout()
    assert read.steps[0].kind == CallStep(capability="t.a", policy=Policy.BEST)


@pytest.mark.parametrize(
    ("policy", "hint"), [("bets", "; did you mean `best`?"), ("", ""), ("5", ""), ("[best]", "")]
)
def test_what_is_no_policy_is_refused(policy: str, hint: str) -> None:
    yaml = f"name: x\nsteps: [{{id: a, call: {{capability: t.a, policy: {policy}}}}}]"
    known = "best, least_in_flight, round_robin, random"
    [problem] = told(yaml)
    assert problem.endswith(f" steps[0].call.policy: expected one of {known}{hint}")


START = "name: x\nsteps:\n  - id: a\n    call: {capability: t.a}\n"


@pytest.mark.parametrize(
    ("yaml", "problem"),
    [
        ("", "1:1 : the text is empty"),
        ("# nothing", "1:1 : the text is empty"),
        ("null", "1:1 : expected an object, found null"),
        ("- a", "1:1 : expected an object, found a list"),
        ("[", "2:1 : the text is no YAML: did not find expected node content"),
        (
            "a: b: c",
            "1:5 : the text is no YAML: mapping values are not allowed in this context;"
            " a text with `: ` in it stands in quotes",
        ),
        (
            "a:\n\t- b",
            "2:1 : the text is no YAML: found character that cannot start any token;"
            " indent with spaces, not tabs",
        ),
        (
            "a: @b",
            "1:4 : the text is no YAML: found character that cannot start any token;"
            " put the text in quotes",
        ),
        ("a: 'b", "1:6 : the text is no YAML: found unexpected end of stream"),
        ("a: b\nc: \x00", "2:4 : the text holds the unprintable character '\\x00'"),
        ("a: \ud800", "1:4 : the text holds the unprintable character '\\ud800'"),
        ("ü: 😀\x07", "1:5 : the text holds the unprintable character '\\x07'"),
        ("name: x\n---\nname: y", "2:1 : the text holds a second document"),
        ("? [a]\n: b", "1:3 : has a key that is no text"),
        ("a: " + "[" * 100, "1:67 : the text nests too deeply"),
        ("a: " + "{a: " * 100, "1:256 : the text nests too deeply"),
        ("#" + "x" * (1 << 18), "1:1 : the text is longer than 256 KiB"),
    ],
)
def test_texts_that_cannot_be_read(yaml: str, problem: str) -> None:
    assert told(yaml) == [problem]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("outptu: x", "5:1 outptu: there is no key `outptu` here; did you mean `output`?"),
        ("owner: x", "5:1 owner: there is no key `owner` here; known are name, description,"),
        ("name: y", "5:1 name: is here a second time"),
        ("timeout: 5", "5:10 timeout: expected a duration such as 5s, found a number"),
        ("timeout: 5 s", "5:10 timeout: '5 s' is no duration: write 200ms, 5s, 1h30m or 1d"),
        ("timeout: 0s", "5:10 timeout: is 0s; it must be from 1ms to 365d"),
        ("timeout: 366d", "5:10 timeout: is 366d; it must be from 1ms to 365d"),
        ("description: [a]", "5:14 description: expected a string, found a list"),
        ("description: true", "5:14 description: expected a string, found a boolean"),
        ("description: " + "x" * 2001, "5:14 description: is longer than 2000 characters"),
        ("input_schema: []", "5:15 input_schema: expected an object, found a list"),
        ("input_schema: {type: x}", "5:22 input_schema.type: is no JSON Schema: 'x' is"),
        ("input_schema: {not: {$ref: a}}", "5:28 input_schema.not.$ref: leads out of the schema"),
        ("output: '${steps.b.output}'", "5:9 output: there is no step `b`"),
        ("output: {a: ['${steps.a}']}", "5:14 output.a[0]: `steps.a`: `steps.a` is not readable"),
        ("output: [9007199254740993]", "5:10 output[0]: is an integer beyond 2^53: write it in"),
        ("output: [1e999]", "5:10 output[0]: is too large for a number"),
        ('output: ["\\0"]', "5:10 output[0]: holds a NUL or half a surrogate pair"),
        ('output: {"\\0": 1}', "5:10 output: has a key with a NUL or half a surrogate pair"),
        ("output: " + "[" * 17 + "]" * 17, "5:9 output: is nested too deeply"),
        ("output: " + "x" * (1 << 16), "5:9 output: is too large"),
        ("output: &a x", "5:9 output: has an anchor: leave out `&a`"),
        ("output: *a", "5:9 output: is an alias: write the value instead of `*a`"),
        ("output: !!str 5", "5:9 output: has a tag: leave it out"),
        ("budget: 5", "5:9 budget: expected an object, found a number"),
        ("budget: {money: 5}", "5:10 budget.money: there is no key `money` here; known are ca"),
        ("budget: {calls: 0}", "5:17 budget.calls: is 0; it must be from 1 to 1,000,000,000"),
        ("budget: {tokens: 1.5}", "5:18 budget.tokens: is 1.5; it must be a whole number"),
        ("budget: {cost: 0}", "5:16 budget.cost: is 0; it must be from 1e-06 to 1,000,000,000"),
        ("concurrency: 0", "5:14 concurrency: is 0; it must be from 1 to 100,000"),
    ],
)
def test_problems_with_the_workflow(text: str, problem: str) -> None:
    assert [each[: len(problem)] for each in told(START + text)] == [problem]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (START.replace("name: x", "name: X"), "1:7 name: 'X' is not accepted: a name has letters"),
        (START.replace("name: x\n", ""), "1:1 : lacks `name`"),
        ("name: x", "1:1 : lacks `steps`"),
        ("name: x\nsteps: {a: b}", "2:8 steps: expected a list, found an object"),
        ("name: x\nsteps: []", "2:8 steps: holds 0 items; 1 to 500 are accepted"),
        ("name: x\nsteps: [a]", "2:9 steps[0]: expected an object, found a string"),
        ("name: x\nsteps: [{call: {capability: t.a}}]", "2:9 steps[0]: lacks `id`"),
        ("name: x\nsteps: [{id: a}]", "2:9 steps[0]: lacks what it does: one of call, map,"),
        (
            START.replace("id: a", "id: A"),
            "3:9 steps[0].id: 'A' is not accepted: an id has letters",
        ),
        (START.replace("id: a", "id: in"), "3:9 steps[0].id: 'in' is not accepted: an id has"),
        (START.replace("id: a", "id: 5"), "3:9 steps[0].id: expected a string, found a number"),
        (START.replace("{cap", "{cab"), "4:11 steps[0].call: lacks `capability`"),
        (
            START.replace("t.a", "T.a"),
            "4:24 steps[0].call.capability: 'T.a' is not accepted: a cap",
        ),
        (
            START.replace("{capability: t.a}", "t.a"),
            "4:11 steps[0].call: expected an object, found",
        ),
        (START.replace("t.a}", "t.a, input: []}"), "4:36 steps[0].call.input: expected an object"),
        (
            START.replace("t.a}", "t.a, input: {a: '${'}}"),
            "4:40 steps[0].call.input.a: `${` is not",
        ),
    ],
)
def test_problems_with_what_every_workflow_has(text: str, problem: str) -> None:
    assert problem in [each[: len(problem)] for each in told(text)]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "foreach: {}",
            "5:5 steps[0].foreach: there is no key `foreach` here; known are id, after,",
        ),
        ("retyr: {}", "5:5 steps[0].retyr: there is no key `retyr` here; did you mean `retry`?"),
        ("when: true", "5:11 steps[0].when: expected a string, found a boolean"),
        ("when: 1 + 1", "5:11 steps[0].when: `1 + 1`: expected a boolean, found int"),
        ("when: 1 +", "5:11 steps[0].when: `1 +`: at character 4: it ends too early"),
        ("when: input.", "5:11 steps[0].when: `input.`: at character 7: `.` is not how an e"),
        ("after: b", "5:12 steps[0].after: expected a list, found a string"),
        ("after: [b]", "5:13 steps[0].after[0]: there is no step `b`"),
        ("after: [a]", "5:12 steps[0].after: the steps follow one another in a circle: a -> a"),
        ("retry: {max_attempts: 0}", "5:27 steps[0].retry.max_attempts: is 0; it must be from 1"),
        ("retry: {max_attempts: 1.5}", "5:27 steps[0].retry.max_attempts: is 1.5; it must be a"),
        ("retry: {max_attempts: all}", "5:27 steps[0].retry.max_attempts: expected a number, fo"),
        ("retry: {jitter: 1.1}", "5:21 steps[0].retry.jitter: is 1.1; it must be from 0 to 1"),
        ("retry: {multiplier: 0.5}", "5:25 steps[0].retry.multiplier: is 0.5; it must be from 1"),
        ("retry: {non_retryable: [x]}", "5:29 steps[0].retry.non_retryable[0]: 'x' is not accept"),
        ("timeout: 5s", "5:14 steps[0].timeout: expected an object, found a string"),
        ("timeout: {start_to_close: 0s}", "5:31 steps[0].timeout.start_to_close: is 0s; it must"),
        ("timeout: {start: 1s}", "5:15 steps[0].timeout.start: there is no key `start` here"),
        ("timeout: {heartbeat: 50ms}", "5:26 steps[0].timeout.heartbeat: is 50ms; it must be fro"),
        ("at_most_once: true", "5:19 steps[0].at_most_once: expected one of fail, suspend"),
        ("at_most_once: fial", "5:19 steps[0].at_most_once: expected one of fail, suspend; did y"),
    ],
)
def test_problems_with_a_step(text: str, problem: str) -> None:
    assert [each[: len(problem)] for each in told(f"{START}    {text}")] == [problem]


GRAPH = """
name: graph
steps:
  - id: a
    after: [b]
    call: {capability: t.a, input: {x: "${steps.c.output}", y: "${nope}"}}
  - id: b
    after: [a]
    call: {capability: t.b}
  - id: c
    call: {capability: t.c, input: {x: "${steps.d.output}", y: "${steps.c.output}"}}
  - id: d
    after: [c, c, zz]
    when: steps.e.output.x
    call: {capability: t.d, input: {x: "${steps.c.output}"}}
  - id: e
    after: []
    call: {capability: t.e}
  - id: f
    after: [g]
    call: {capability: t.f}
  - id: g
    after: [h]
    call: {capability: t.g}
  - id: h
    after: [f]
    call: {capability: t.h}
output: "${steps.f.output} ${steps.q.output}"
"""


def test_everything_that_is_wrong_with_a_graph_is_told_at_once() -> None:
    assert told(GRAPH) == [
        "5:12 steps[0].after: the steps follow one another in a circle: a -> b -> a",
        "6:64 steps[0].call.input.y: `nope`: at character 1: there is no `nope`;"
        " expressions read input, steps, execution and state here",
        "11:40 steps[2].call.input.x: `d` runs after `c`, so its output is not there yet",
        "11:64 steps[2].call.input.y: a step cannot read its own output",
        "13:16 steps[3].after[1]: `c` is named twice",
        "13:19 steps[3].after[2]: there is no step `zz`",
        "14:11 steps[3].when: `e` may not be done yet: add it to the `after` of `d`",
        "20:12 steps[5].after: the steps follow one another in a circle: f -> h -> g -> f",
        "28:9 output: there is no step `q`",
    ]


def test_ids_are_used_once() -> None:
    yaml = START + "  - {id: a, call: {capability: t.b}}\n"
    assert told(yaml) == ["5:10 steps[1].id: there is a step `a` above already"]


def test_a_chain_reads_everything_above_it() -> None:
    steps = [
        {
            "id": f"s{number}",
            "call": {
                "capability": "t.a",
                "input": {"all": [f"${{steps.s{other}.output}}" for other in range(number)][:20]},
            },
        }
        for number in range(100)
    ]
    accepted(read_message({"name": "x", "steps": steps}))


def test_problems_of_a_message_have_paths_only() -> None:
    read = read_message(
        {
            "name": "x",
            "timeout": timedelta(days=400),
            "steps": [{"id": "a", "when": "nope", "call": {"capability": "t.a"}}],
        }
    )
    assert isinstance(read, list)
    assert [(each.path, each.line, each.column) for each in read] == [
        ("timeout", 0, 0),
        ("steps[0].when", 0, 0),
    ]


def test_at_most_500_steps() -> None:
    steps = [{"id": f"s{number}", "call": {"capability": "t.a"}} for number in range(501)]
    accepted(read_message({"name": "x", "steps": steps[:500]}))
    read = read_message({"name": "x", "steps": steps})
    assert isinstance(read, list)
    assert [each.message for each in read] == ["holds 501 items; 1 to 500 are accepted"]


@pytest.mark.parametrize(("text", "count"), [("${input.n}", 2001), ("${input.l.map(a, a)}", 101)])
def test_a_workflow_has_only_so_many_expressions(text: str, count: int) -> None:
    def told_of(number: int) -> list[str]:
        steps = [
            {"id": f"s{start}", "call": {"capability": "t.a", "input": {"x": [text] * many}}}
            for start in range(0, number, 500)
            if (many := min(500, number - start))
        ]
        read = read_message({"name": "x", "steps": steps})
        return [each.message for each in read] if isinstance(read, list) else []

    assert told_of(count - 1) == []
    assert told_of(count) == [
        "is too much: a workflow has at most 2000 expressions and 100 list macros"
    ]


def test_thousands_of_problems_are_told_in_part() -> None:
    unknown = "".join(f"unknown{number}: 1\n" for number in range(10_000))
    assert len(told(unknown)) == 100


def test_the_surprises_of_older_yaml_are_gone() -> None:
    yaml = "output: [no, on, 1:30, 2026-01-01, 0x1F, 1_000, ~, 007, <<, .inf]\n"
    assert accepted(read_yaml(START + yaml)).output == [
        "no", "on", "1:30", "2026-01-01", "0x1F", "1_000", None, 7.0, "<<", ".inf",
    ]  # fmt: skip


@given(st.text(max_size=200))
def test_any_text_is_answered(text: str) -> None:
    read = read_yaml(text)
    assert isinstance(read, CompiledWorkflow) or read


@given(st.text(st.sampled_from("ab:-[]{},\n '\"#&*!|>?%@`${}~"), max_size=100))
def test_anything_like_yaml_is_answered(text: str) -> None:
    read = read_yaml("name: x\nsteps:\n  - id: a\n" + text)
    assert isinstance(read, CompiledWorkflow) or read

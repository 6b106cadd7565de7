"""What is refused of steps inside steps: their order, what they see, what means nothing."""

from __future__ import annotations

import pytest

from brikk_workflow.domain.compiled import CompiledWorkflow
from brikk_workflow.domain.source import read_yaml

INSIDE = """
name: broken
steps:
  - id: items
    map:
      over: "${input.list}"
      as: thing
      steps:
        - {id: one, emit: {type: x, data: {x: "${item}"}}}
        - id: two
          after: [lp]
          emit: {type: x, data: {x: "${steps.items.output}", y: "${steps.later.output}"}}
  - id: lp
    loop:
      while: steps.inner.output.ok
      until: steps.inner.output.ok && steps.inner2.error == null
      steps:
        - id: inner
          emit: {type: x, data: {x: "${steps.lp.output}", z: "${steps.one.output}"}}
        - {id: inner2, when: steps.inner.error == null, set: {values: {n: "${state.n + 1}"}}}
    catch:
      - steps:
          - {id: c, emit: {type: x, data: {e: "${steps.lp.error.code}", f: "${steps.lp.output}"}}}
  - {id: later, wait: {duration: 1s}}
output: "${steps.two.output}"
"""


def told(yaml: str) -> list[str]:
    read = read_yaml(yaml)
    if isinstance(read, CompiledWorkflow):
        return []
    return [f"{each.line}:{each.column} {each.path}: {each.message}" for each in read]


def test_what_steps_inside_others_may_read() -> None:
    stands = "where only the steps beside it see it"
    assert told(INSIDE) == [
        "6:13 steps[0].map.over: `${input.list}` is an expression as a whole: leave out `${` and"
        " `}`",
        "9:47 steps[0].map.steps[0].emit.data.x: `item`: at character 1: there is no `item`;"
        " expressions read input, steps, execution, state, thing and loop here",
        "11:19 steps[0].map.steps[1].after[0]: `lp` is not in this list of steps: name one beside"
        " it",
        "12:37 steps[0].map.steps[1].emit.data.x: `items` is not done while the steps in it run",
        "12:65 steps[0].map.steps[1].emit.data.y: `later` runs after `items`, so its output is not"
        " there yet",
        f"15:14 steps[1].loop.while: `inner` stands inside `lp`, {stands}: read `loop.last`, what"
        " the last of them put out",
        "19:37 steps[1].loop.steps[0].emit.data.x: `lp` is not done while the steps in it run:"
        " write `loop.last` for what its last turn put out",
        f"19:62 steps[1].loop.steps[0].emit.data.z: `one` stands inside `items`, {stands}: read"
        " `steps.items.output`, the list of what the items' last steps put out",
        "20:75 steps[1].loop.steps[1].set.values.n: `state.n + 1`: `state.n` is a double, like"
        " every number in data: write `1.0`, not `1`",
        "23:76 steps[1].catch[0].steps[0].emit.data.f: `lp` failed, so it has no output: read"
        " `steps.lp.error`",
        f"25:9 output: `two` stands inside `items`, {stands}: read `steps.items.output`, the list"
        " of what the items' last steps put out",
    ]


X = "emit: {type: x, data: {x: '${steps.a.output}'}}"
A = "{id: a, call: {capability: t.a}}"
B = "{id: b, after: [], call: {capability: t.b}}"


@pytest.mark.parametrize(
    ("steps", "problem"),
    [
        (f"{A}, {{id: b, join: 2, wait: {{duration: 1s}}}}", "join: is 2, and it waits for 1 step"),
        ("{id: a, join: any, wait: {duration: 1s}}", "join: is 1, and it waits for 0 steps"),
        ("{id: a, wait: {}}", "wait: lacks `duration` or `until`"),
        ("{id: a, wait: {duration: 1s, until: x}}", "wait.until: has no meaning beside `duration`"),
        ("{id: a, loop: {steps: [{id: b, return: {}}]}}", "loop: would not end: write `while` or"),
        (
            "{id: a, call: {capability: t.a, quorum: 2}}",
            "quorum: has no meaning with `select: one`: it is for `all`",
        ),
        (
            "{id: a, call: {capability: t.a, select: all, quorum: 4, max_agents: 3}}",
            "quorum: is 4, and at most 3 agents are called: raise `max_agents`",
        ),
        ("{id: a, call: {capability: t.a, select: all, quorum: 0%}}", "from 0.001 to 100"),
        ("{id: a, call: {capability: t.a, max_agents: 3}}", "max_agents: has no meaning with"),
        (
            "{id: a, call: {capability: t.a, select: race, affinity: x}}",
            "affinity: has no meaning with `select: race`: several agents are called",
        ),
        (
            "{id: a, call: {capability: t.a, select: race}, at_most_once: fail}",
            "at_most_once: has no meaning with `select: race`: several agents do the same",
        ),
        (
            "{id: a, call: {capability: t.a, selector: 'a=b,,'}}",
            "selector: `a=b,,`: expected a key or '!', found ',' (character 5)",
        ),
        (
            "{id: a, call: {capability: t.a}, compensate: {call: {capability: t.a, select: all}}}",
            "select: has no meaning here: one agent undoes a step",
        ),
        (
            "{id: a, call: {capability: t.a, select: all, bids: {}}}",
            "bids: has no meaning with `select: all`: it is for `bids`",
        ),
        (
            "{id: a, call: {capability: t.a, select: bids, bids: {score: \"'x'\"}}}",
            "bids.score: `'x'`: expected a number, found string",
        ),
        (
            "{id: a, call: {capability: t.a, select: bids, bids: {score:"
            " 'input.x.exists(y, y == bid.agent) ? 1.0 : 0.0'}}}",
            "bids.score: has a list macro, for each of the bids: work it out in a step before",
        ),
        (
            "{id: a, call: {capability: t.a, select: bids, input: {x: '${bid.price}'}}}",
            "`bid.price`",
        ),
        (
            "{id: a, call: {capability: t.a, select: all}, at_most_once: suspend,"
            " timeout: {schedule_to_close: 1s}}",
            "has no meaning beside `schedule_to_close` with `select: all`",
        ),
        (
            "{id: a, wait: {duration: 1s}, retry: {}}",
            "retry: has no meaning for `wait`: only calls are repeated",
        ),
        (
            "{id: a, wait: {duration: 1s}, timeout: {heartbeat: 1s}}",
            "heartbeat: has no meaning for `wait`: it has `schedule_to_close` alone",
        ),
        (
            "{id: a, wait: {duration: 1s}, fail: {reason: A}}",
            "fail: a step does one thing, and this one has `wait`: make two steps",
        ),
        ("{id: a, fail: {reason: A}}, {id: b, wait: {duration: 1s}}", "id: never runs: it follows"),
        ("{id: a, return: {}}, {id: b, wait: {duration: 1s}}", "id: never runs: it follows `a`"),
        ("{id: a, map: {over: 1.0, steps: [{id: b, return: {}}]}}", "over: expected a string, fou"),
        ("{id: a, map: {over: '1.0 + 2.0', steps: [{id: b, return: {}}]}}", "expected a list, fou"),
        ("{id: a, map: {over: '', steps: [{id: b, return: {}}]}}", "map.over: is empty"),
        ("{id: a, map: {over: input.x, as: loop, steps: [{id: b, return: {}}]}}", "nor one of inp"),
        (
            "{id: a, map: {over: input.x, steps: [{id: a, return: {}}]}}",
            "there is a step `a` above",
        ),
        ("{id: a, set: {values: {}, if_version: '\"1\"'}}", "expected a number, found string"),
        ("{id: catch, return: {}}", "no word of CEL, nor catch or compensate"),
        ("{id: a, emit: {type: Order}}", "the type of an event is words of a-z"),
        ("{id: a, fail: {reason: no}}", "codes and reasons are written in capitals"),
        (
            f"{A}, {B}, {{id: c, after: [b], {X}}}",
            "`a` may not be done yet: add it to the `after` of `c`",
        ),
        (
            f"{A}, {{id: b, emit: {{type: x}}}}, {B.replace('id: b', 'id: c')},"
            " {id: d, join: any, after: [b, c], emit: {type: x, data: {x: '${steps.a.output}'}}}",
            "`a` may not be done yet: add it to the `after` of `d`",
        ),
        (
            "{id: a, compensate: {call: {capability: t.b, input: {x: '${steps.b.output}'}}},"
            " call: {capability: t.a}}, {id: b, return: {}}",
            "`b` runs after `a`, so its output is not there yet",
        ),
        (
            "{id: a, call: {capability: t.a}, catch: [{steps: [{id: b, return: {}}]}]},"
            " {id: c, emit: {type: x, data: {x: '${steps.b.output}'}}}",
            "`b` stands inside `a`, where only the steps beside it see it: read `steps.a.output`",
        ),
    ],
)
def test_what_does_not_go_together(steps: str, problem: str) -> None:
    problems = told(f"name: x\nsteps: [{steps}]")
    assert any(problem in each for each in problems), problems
    assert len(problems) == 1


@pytest.mark.parametrize(
    "steps",
    [
        f"{A}, {B}, {{id: c, join: any, after: [a, b], {X}}}",
        f"{A}, {{id: b, emit: {{type: x}}}}, {{id: c, after: [a], emit: {{type: x}}}},"
        " {id: d, join: 1, after: [b, c], emit: {type: x, data: {x: '${steps.a.output}'}}}",
        "{id: a, call: {capability: t.a},"
        " compensate: {call: {capability: t.b, input: {x: '${steps.a.output}'}}}}",
        "{id: a, call: {capability: t.a, select: all, quorum: 10}, at_most_once: suspend}",
        "{id: a, call: {capability: t.a, select: bids, bids: {score: bid.confidence / bid.price}}}",
        "{id: a, call: {capability: t.a, selector: 'a in (b, ${input.c}), !d'},"
        " compensate: {call: {capability: t.a, selector: d}}}",
        "{id: a, fail: {reason: A}, on_error: continue}, {id: b, emit: {type: x, data:"
        " {x: '${steps.a.error.reason}'}}}",
        "{id: a, when: input.x, return: {}}, {id: b, wait: {duration: 1s}}",
        "{id: a, map: {over: input.x, as: y, steps: [{id: b, map: {over: y.z, steps:"
        " [{id: c, emit: {type: x, data: {y: '${y}', item: '${item}', n: '${loop.index}'}}}]}}]}}",
        "{id: a, loop: {while: 'loop.index < 3 && state.go', until: loop.last.done, steps:"
        " [{id: b, call: {capability: '${state.next}', input: {x: '${loop.last}'}}}]}}",
    ],
)
def test_what_goes_together(steps: str) -> None:
    assert told(f"name: x\nsteps: [{steps}]") == []


def nested(levels: int) -> str:
    step = "{id: s0, wait: {duration: 1s}}"
    for level in range(1, levels):
        step = f"{{id: s{level}, map: {{over: input.x, steps: [{step}]}}}}"
    return f"name: x\nsteps: [{step}]"


def test_steps_nest_eight_deep() -> None:
    assert told(nested(8)) == []
    (problem,) = told(nested(9))
    assert "nests too deeply: steps stand in one another at most 8 deep" in problem


def test_steps_inside_others_count() -> None:
    inside = ", ".join(f"{{id: s{number}, wait: {{duration: 1s}}}}" for number in range(499))
    yaml = f"name: x\nsteps: [{{id: a, map: {{over: input.x, steps: [{inside}]}}}}"
    assert told(yaml + "]") == []
    (problem,) = told(yaml + ", {id: b, wait: {duration: 1s}}]")
    assert "is too much: a workflow has at most 500 steps, those inside others included" in problem

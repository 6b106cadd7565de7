"""Maps and loops, as the decider runs them."""

from __future__ import annotations

import json

import pytest

from brikk_shared.errors import Reason
from brikk_workflow.domain.decision import (
    CallsLost,
    Continue,
    PauseRequested,
    ResumeRequested,
)
from brikk_workflow.domain.definition import Catch, OnError, Step
from brikk_workflow.domain.kinds import Case, LoopStep, MapStep, SwitchStep, Tolerance
from brikk_workflow.domain.state import ExecutionStatus, Progress
from brikk_workflow.domain.state_json import state_from_json, state_to_json
from support.play import WRONG, Play
from support.programs import called, chain, fails, program, puts, step


def over(*steps: Step, **fields: object) -> MapStep:
    return MapStep(over="input.items", steps=steps, **fields)  # type: ignore[arg-type]


def test_a_map_runs_its_steps_for_each_item_and_keeps_their_order() -> None:
    inner = chain(
        called("a", {"item": "${item}", "at": "${loop.index}"}),
        called("b", {"of": "${steps.a.output.x}"}),
    )
    play = Play(program(step("m", over(*inner)), output="${steps.m.output}"), {"items": ["p", "q"]})
    assert {path: call.input for path, call in play.calls().items()} == {
        "m/0/a": {"item": "p", "at": 0.0},
        "m/1/a": {"item": "q", "at": 1.0},
    }
    play.tell(play.succeeded("m/1/a", x=1.0), play.succeeded("m/0/a", x=0.0))
    assert play.calls()["m/1/b"].input == {"of": 1.0}
    play.tell(play.succeeded("m/1/b", y=1.0))
    assert play.state.step("m").progress == Progress(total=2, begun=2, done=1)
    assert play.state.steps.keys() == {"m", "m/0/a", "m/0/b"}
    assert play.outputs.keys() == {"m/items", "m/0/a", "m/1"}
    play.tell(play.succeeded("m/0/b", y=0.0))
    assert play.last.output == [{"y": 0.0}, {"y": 1.0}]
    assert play.state.steps.keys() == {"m"}
    assert play.outputs.keys() == {"m"}


def test_no_more_items_are_under_way_than_a_map_allows() -> None:
    play = Play(program(step("m", over(step("a"), max_concurrency=2))), {"items": [1.0, 2.0, 3.0]})
    assert play.calls().keys() == {"m/0/a", "m/1/a"}
    play.tell(play.succeeded("m/0/a"), play.succeeded("m/1/a"))
    assert play.calls().keys() == {"m/2/a"}
    play.tell(play.succeeded("m/2/a"))
    assert play.state.status is ExecutionStatus.SUCCEEDED


def test_a_map_of_nothing_puts_out_nothing() -> None:
    play = Play(program(step("m", over(step("a"))), output="${steps.m.output}"), {"items": []})
    assert (play.state.status, play.last.output) == (ExecutionStatus.SUCCEEDED, [])


@pytest.mark.parametrize("items", ["text", {"a": 1.0}, 1.0, None])
def test_what_is_no_list_cannot_be_mapped(items: object) -> None:
    play = Play(program(step("m", over(step("a")))), {"items": items})  # type: ignore[dict-item]
    assert play.state.step("m").failure.reason is Reason.EXPRESSION_FAILED  # type: ignore[union-attr]


def test_a_list_that_is_too_long_is_refused() -> None:
    play = Play(program(step("m", over(step("a")))), {"items": [0.0] * 10_001})
    assert play.state.step("m").failure.reason is Reason.PAYLOAD_TOO_LARGE  # type: ignore[union-attr]


def test_a_map_tolerates_as_many_failed_items_as_it_says() -> None:
    mapped = over(step("a"), tolerate=Tolerance(share=0.5))
    play = Play(
        program(step("m", mapped), output="${steps.m.output}"), {"items": [1.0, 2.0, 3.0, 4.0]}
    )
    play.tell(play.failed("m/0/a", WRONG), play.failed("m/2/a", WRONG))
    play.tell(play.succeeded("m/1/a"), play.succeeded("m/3/a"))
    assert play.last.output == [None, {}, None, {}]
    assert play.state.step("m").progress == Progress(total=4, begun=4, done=2, failed=2)
    play = Play(play.workflow, {"items": [1.0, 2.0, 3.0]})
    play.tell(play.failed("m/0/a", WRONG))
    play.tell(play.failed("m/2/a", WRONG))
    assert play.cancels() == ["m/1/a"]
    assert play.state.status is ExecutionStatus.FAILED
    assert play.state.failure.message == "Step m failed: Step m/2/a failed: wrong"  # type: ignore[union-attr]
    assert play.outputs == {}
    assert play.state.steps.keys() == {"m"}


def test_a_map_that_fails_can_be_caught_or_continued() -> None:
    mapped = over(step("a"))
    play = Play(program(step("m", mapped, catch=(Catch(steps=(step("c"),)),))), {"items": [1.0]})
    play.tell(play.failed("m/0/a", WRONG))
    assert play.calls().keys() == {"m/catch/c"}
    play.tell(play.succeeded("m/catch/c"))
    assert play.state.status is ExecutionStatus.SUCCEEDED
    play = Play(program(step("m", mapped, on_error=OnError.CONTINUE)), {"items": [1.0]})
    play.tell(play.failed("m/0/a", WRONG))
    assert play.state.status is ExecutionStatus.SUCCEEDED


def test_maps_in_maps_see_both_items() -> None:
    inner = MapStep(
        over="outer.list", variable="it", steps=(called("a", {"v": "${outer.name + it}"}),)
    )
    play = Play(
        program(step("m", over(step("n", inner), variable="outer")), output="${steps.m.output}"),
        {"items": [{"name": "a", "list": ["1", "2"]}, {"name": "b", "list": ["3"]}]},
    )
    assert {path: call.input["v"] for path, call in play.calls().items()} == {
        "m/0/n/0/a": "a1",
        "m/0/n/1/a": "a2",
        "m/1/n/0/a": "b3",
    }
    play.tell(*(play.succeeded(path, of=path) for path in play.calls()))
    assert play.last.output == [[{"of": "m/0/n/0/a"}, {"of": "m/0/n/1/a"}], [{"of": "m/1/n/0/a"}]]
    assert play.outputs.keys() == {"m"}


def test_a_map_of_ten_thousand_items_takes_tens_of_decisions_and_stays_small() -> None:
    mapped = over(called("a", {"item": "${item}"}), max_concurrency=1000)
    play = Play(
        program(step("m", mapped), output="${size(steps.m.output)}"),
        {"items": [float(n) for n in range(10_000)]},
    )
    decisions = 0
    while not play.state.status.terminal:
        play.tell(*(play.succeeded(path) for path in play.calls()))
        decisions += 1
        assert len(play.state.steps) <= 1001
    assert decisions == 10
    assert play.state.calls == 10_000


def test_a_loop_goes_on_from_the_output_of_the_iteration_before() -> None:
    loop = LoopStep(
        while_="loop.index < 3.0",
        steps=(called("a", {"at": "${loop.index}", "last": "${loop.last}"}),),
    )
    play = Play(program(step("l", loop), output="${steps.l.output}"))
    for number in range(3):
        path = f"l/{number}/a"
        last = {"n": number - 1.0} if number else None
        assert play.calls()[path].input == {"at": float(number), "last": last}
        assert play.state.steps.keys() == {"l", path}
        play.tell(play.succeeded(path, n=float(number)))
    assert play.last.output == {"n": 2.0}
    assert play.outputs.keys() == {"l"}


def test_until_is_asked_after_each_iteration_and_sees_its_steps() -> None:
    loop = LoopStep(until="steps.a.output.done && loop.last.done", keep_last=2, steps=(step("a"),))
    play = Play(program(step("l", loop), output="${steps.l.output}"))
    for number, done in enumerate([False, False, True]):
        play.tell(play.succeeded(f"l/{number}/a", done=done))
    assert play.last.output == [{"done": False}, {"done": True}]


def test_a_loop_without_end_is_ended() -> None:
    loop = LoopStep(while_="true", max_iterations=3, steps=(puts("a", {"n": "${loop.index}"}),))
    play = Play(program(step("l", loop)))
    assert play.state.step("l").failure.reason is Reason.LOOP_LIMIT  # type: ignore[union-attr]
    assert play.state.state_version == 3
    loop = LoopStep(while_="loop.index < 3.0", max_iterations=3, steps=(puts("a", {"n": 1.0}),))
    assert Play(program(step("l", loop))).state.status is ExecutionStatus.SUCCEEDED


def test_a_loop_resumes_at_the_iteration_where_it_was() -> None:
    loop = LoopStep(
        while_="loop.index < 3.0", steps=chain(puts("s", {"n": "${loop.index}"}), step("a"))
    )
    play = Play(program(step("l", loop)))
    play.tell(play.succeeded("l/0/a"))
    play.state = state_from_json(json.loads(json.dumps(state_to_json(play.state))))
    play.tell(CallsLost())
    assert play.calls().keys() == {"l/1/a"}
    play.tell(PauseRequested())
    play.tell(play.succeeded("l/1/a"))
    assert play.calls() == {}
    play.tell(ResumeRequested())
    assert play.calls().keys() == {"l/2/a"}
    play.tell(play.succeeded("l/2/a"))
    assert play.state.status is ExecutionStatus.SUCCEEDED
    assert play.state.state_version == 3


def test_a_hundred_thousand_iterations_come_in_small_portions() -> None:
    loop = LoopStep(
        while_="loop.index < 100000.0",
        max_iterations=100_000,
        steps=(step("s", SwitchStep(cases=(Case(when="false", steps=(fails("f"),)),))),),
    )
    workflow = program(step("l", loop))
    play = Play(workflow)
    portions, longest = 1, 0
    while play.last.unfinished:
        if portions == 3:
            play.tell(CallsLost())
        else:
            play.tell(Continue())
        portions += 1
        longest = max(longest, len(play.last.history))
        assert len(play.state.steps) <= 2
        play.history.clear()
    assert play.state.status is ExecutionStatus.SUCCEEDED
    assert play.state.step("l").progress == Progress(begun=100_000, done=100_000)
    assert 400 <= portions <= 600
    assert longest <= 210


def test_a_loop_of_maps_leaves_nothing_behind() -> None:
    inner = over(
        step("a", on_error=OnError.CONTINUE, catch=(Catch(errors=("X",), steps=(step("c"),)),))
    )
    loop = LoopStep(while_="loop.index < 2.0", steps=(step("m", inner),))
    play = Play(program(step("l", loop)), {"items": [1.0, 2.0]})
    while not play.state.status.terminal:
        play.tell(*(play.succeeded(path) for path in play.calls()))
    assert play.outputs.keys() == {"l"}
    assert play.state.steps.keys() == {"l"}

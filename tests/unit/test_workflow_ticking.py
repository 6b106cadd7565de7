"""What becomes of ticks that are due: overlap, catch-up, jitter, bounds."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brikk_workflow.domain.schedule import (
    Cause,
    Counts,
    Overlap,
    Plan,
    RunState,
    ScheduleState,
    make_run,
)
from brikk_workflow.domain.ticking import MAX_TICKS, MAX_WAITING, Queue, Turn, decide_ticks
from support.plans import PLAN, START, make_schedule

MINUTE = timedelta(minutes=1)


def minutes(*numbers: int) -> list[datetime]:
    return [START + number * MINUTE for number in numbers]


def decide(plan: Plan, now: datetime, *, waiting: int | None = None) -> Turn:
    """What is decided of a schedule of which something runs, unless `waiting` is None."""
    queue = Queue(busy=waiting is not None, waiting=waiting or 0, ticks=waiting or 0)
    return decide_ticks(make_schedule(plan), queue, now)


def test_nothing_is_decided_before_the_first_tick() -> None:
    turn = decide(PLAN, START + MINUTE - timedelta(microseconds=1))
    assert (turn.queue.start, turn.schedule.position) == ([], START)
    assert turn.schedule.next_time == START + MINUTE


@pytest.mark.parametrize(
    ("overlap", "waiting", "start", "wait", "skipped", "cancel"),
    [
        (Overlap.SKIP, None, (1,), (), 2, False),
        (Overlap.SKIP, 0, (), (), 3, False),
        (Overlap.BUFFER_ONE, None, (1,), (2,), 1, False),
        (Overlap.BUFFER_ONE, 0, (), (1,), 2, False),
        (Overlap.BUFFER_ONE, 1, (), (), 3, False),
        (Overlap.BUFFER_ALL, None, (1,), (2, 3), 0, False),
        (Overlap.BUFFER_ALL, MAX_WAITING - 1, (), (1,), 2, False),
        # The newest takes the place of all before it, and of the one that waited.
        (Overlap.CANCEL_OTHER, None, (3,), (), 2, False),
        (Overlap.CANCEL_OTHER, 1, (), (3,), 3, True),
        (Overlap.ALLOW_ALL, 0, (1, 2, 3), (), 0, False),
    ],
)
def test_three_ticks_are_due(
    overlap: Overlap,
    waiting: int | None,
    start: tuple[int, ...],
    wait: tuple[int, ...],
    skipped: int,
    cancel: bool,
) -> None:
    turn = decide(replace(PLAN, overlap=overlap), START + 3 * MINUTE, waiting=waiting)
    assert turn.queue.start == minutes(*start)
    assert turn.queue.wait == minutes(*wait)
    assert (turn.skipped, turn.missed) == (skipped, 0)
    assert (turn.queue.cancel, turn.queue.drop) == (cancel, cancel)
    assert turn.schedule.position == START + 3 * MINUTE
    assert turn.schedule.next_time == START + 4 * MINUTE
    assert turn.schedule.counts == Counts(runs=3 - skipped, skipped=skipped)


def test_ticks_within_the_window_are_made_up_and_older_ones_are_missed() -> None:
    plan = replace(PLAN, overlap=Overlap.ALLOW_ALL, catchup=2 * MINUTE)
    turn = decide(plan, START + 10 * MINUTE)
    assert turn.queue.start == minutes(8, 9, 10)
    assert turn.missed == 7
    assert turn.schedule.counts == Counts(runs=3, missed=7)


def test_many_ticks_are_decided_in_several_turns() -> None:
    now = START + (MAX_TICKS + 5) * MINUTE
    first = decide(PLAN, now)
    assert first.schedule.position == START + MAX_TICKS * MINUTE
    assert first.schedule.next_time == first.schedule.position + MINUTE
    second = decide_ticks(first.schedule, Queue(busy=True, waiting=0, ticks=0), now)
    assert second.schedule.position == now


def test_it_ends_after_its_last_run_or_its_end() -> None:
    most = decide(replace(PLAN, max_runs=2, overlap=Overlap.ALLOW_ALL), START + 5 * MINUTE)
    assert most.queue.start == minutes(1, 2)
    assert most.schedule.state is ScheduleState.ENDED
    assert most.schedule.coming(5) == []
    bounded = replace(PLAN, start=START + 3 * MINUTE, end=START + 5 * MINUTE)
    assert make_schedule(bounded).coming(5) == minutes(3, 4)
    last = decide(bounded, START + 9 * MINUTE)
    assert last.queue.start == minutes(3)
    assert last.schedule.next_time is None


def test_paused_it_decides_nothing() -> None:
    paused = replace(make_schedule(), paused=True)
    turn = decide_ticks(paused, Queue(busy=False, waiting=0, ticks=0), START + 5 * MINUTE)
    assert (turn.queue.start, turn.schedule.position) == ([], START)
    assert turn.schedule.next_time is None
    assert paused.coming(5) == []


@given(st.timedeltas(timedelta(0), timedelta(hours=2)))
def test_jitter_is_always_the_same_and_keeps_the_order(jitter: timedelta) -> None:
    jittered = make_schedule(replace(PLAN, jitter=jitter))
    coming = list(islice(jittered.upcoming(START), 10))
    assert coming == list(islice(jittered.upcoming(START), 10))
    assert [tick for tick, _ in coming] == minutes(*range(1, 11))
    assert all(tick <= due <= tick + min(jitter, MINUTE) for tick, due in coming)
    assert all(earlier[1] < later[1] for earlier, later in pairwise(coming))


def test_jitter_spreads_schedules() -> None:
    one, other = (
        make_schedule(replace(PLAN, jitter=MINUTE)),
        make_schedule(replace(PLAN, jitter=MINUTE)),
    )
    assert one.first_due(START) != replace(other, uid="u2").first_due(START)


def test_a_tick_is_told_to_its_execution_where_it_is_asked_for() -> None:
    assert make_schedule().input_at(START) == {}
    told = replace(PLAN, input={"size": 1, "at": "?"}, tick_input="at")
    assert make_schedule(told).input_at(START) == {"size": 1, "at": "2026-01-01T00:00:00Z"}


def test_runs_are_told_apart() -> None:
    keys = {
        make_run(each, cause, tick, RunState.PENDING, request_id=request).key
        for each in (make_schedule(), replace(make_schedule(), uid="u2"))
        for tick in minutes(1, 2)
        for cause, request in [
            (Cause.TICK, ""),
            (Cause.BACKFILL, "a"),
            (Cause.BACKFILL, "b"),
            (Cause.TRIGGER, "a"),
        ]
    }
    # A trigger is one, whenever it is asked for again.
    assert len(keys) == 2 * (2 * 3 + 1)

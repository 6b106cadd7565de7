"""What a handler says of its call is summed up, bounded, and sent no oftener than is needed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from brikk_agent import CallCancelled, Context, Usage
from brikk_agent.line import Line, Progress


def test_usage_adds_up_and_names_the_last_model() -> None:
    context = Context()
    assert context.usage == Usage()
    context.use(tokens=10, model="small")
    context.use(cost_micros=5)
    context.use(tokens=1, cost_micros=1, model="large")
    assert context.usage == Usage(tokens=11, cost_micros=6, model="large")


def test_no_use_is_lost_between_threads() -> None:
    context = Context()
    with ThreadPoolExecutor(8) as threads:
        for _ in range(1_000):
            threads.submit(context.use, tokens=1)
    assert context.usage.tokens == 1_000


@pytest.mark.parametrize(
    ("tokens", "cost_micros"), [(-1, 0), (0, -1), (10**12, 0), (0, 10**12 + 1)]
)
def test_impossible_use_is_refused_and_changes_nothing(tokens: int, cost_micros: int) -> None:
    context = Context()
    context.use(tokens=1)
    with pytest.raises(ValueError, match="usage cannot"):
        context.use(tokens=tokens, cost_micros=cost_micros)
    assert context.usage == Usage(tokens=1)


def test_heartbeats_go_out_no_oftener_than_the_caller_needs() -> None:
    beats: list[None] = []
    context = Context(line=Line(lambda: beats.append(None), 3600.0))
    for _ in range(1_000):
        context.heartbeat()
    assert len(beats) == 1


def test_heartbeats_that_nobody_listens_to_go_nowhere() -> None:
    Context().heartbeat()
    Context().progress(0.5, "half")


def test_progress_is_announced_once_until_it_was_taken() -> None:
    told: list[str] = []
    context = Context(line=Line(lambda: told.append("beat"), news=lambda: told.append("news")))
    context.progress(0.1, "a")
    context.progress(0.2, "b")
    assert told == ["news", "beat", "beat"]
    assert context.line.take_progress() == Progress(fraction=0.2, message="b")
    assert context.line.take_progress() is None
    context.progress(1)
    assert told[3:] == ["news", "beat"]


@pytest.mark.parametrize("fraction", [-0.1, 1.1, float("nan")])
def test_progress_is_a_fraction(fraction: float) -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        Context().progress(fraction)


def test_a_heartbeat_ends_what_nobody_waits_for() -> None:
    context = Context()
    assert not context.cancelled
    context.line.cancelled = True
    assert context.cancelled
    for speak in (context.heartbeat, lambda: context.progress(0.5)):
        with pytest.raises(CallCancelled):
            speak()


def test_what_each_says_is_its_own() -> None:
    Context().use(tokens=1)
    assert Context().usage == Usage()

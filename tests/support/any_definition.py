"""Definitions of every kind, as the reader gives them; whether they make sense is not asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st

from brikk_shared.selection import Policy
from brikk_workflow.domain.definition import (
    AtMostOnce,
    Budget,
    Catch,
    Compensation,
    OnError,
    RetryPolicy,
    Step,
    StepTimeout,
    WorkflowDefinition,
)
from brikk_workflow.domain.duration import format_duration
from brikk_workflow.domain.kinds import (
    Bidding,
    CallStep,
    Case,
    EmitStep,
    FailStep,
    Kind,
    LoopStep,
    MapStep,
    OnTimeout,
    Quorum,
    ReturnStep,
    Select,
    SetStep,
    SignalStep,
    SwitchStep,
    Tolerance,
    WaitStep,
    WorkflowStep,
)

_IDS = st.from_regex("[a-z][a-z0-9_]{3,8}", fullmatch=True).filter(
    lambda text: (
        text not in ("catch", "compensate", "true", "false", "null", "input", "steps")
        and text not in ("execution", "state", "loop")
    )
)
_NAMES = st.from_regex("[a-z]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
_CODES = st.lists(st.from_regex("[A-Z][A-Z0-9_]{0,8}", fullmatch=True), max_size=2).map(tuple)
_TEXTS = st.text("ab \u00e9:#-'\"{}$%\n", max_size=8)
_SOME_TEXTS = _TEXTS.filter(bool)
_NUMBERS = st.floats(-1e6, 1e6)
_VALUES = st.recursive(
    st.none() | st.booleans() | _NUMBERS | _TEXTS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_TEXTS, inner, max_size=2),
    max_leaves=4,
)
_MEMBERS = st.dictionaries(_TEXTS, _VALUES, max_size=2)


def _durations(lowest: float, highest: float) -> st.SearchStrategy[timedelta]:
    return st.integers(round(lowest * 1000), round(highest * 1000)).map(
        lambda milliseconds: timedelta(milliseconds=milliseconds)
    )


_RETRIES = st.builds(
    RetryPolicy,
    max_attempts=st.integers(1, 10_000),
    initial=_durations(0, 86400),
    multiplier=st.floats(1, 100),
    max=_durations(0, 604800),
    jitter=st.floats(0, 1),
    non_retryable=_CODES,
)
_TIMEOUTS = st.builds(
    StepTimeout,
    schedule_to_start=_durations(0, 86400),
    start_to_close=_durations(0.001, 86400),
    schedule_to_close=st.none() | _durations(0.001, 86400),
    heartbeat=st.none() | _durations(0.1, 86400),
)
_CLOSINGS = st.builds(StepTimeout, schedule_to_close=st.none() | _durations(0.001, 86400))
_CALLS = st.builds(
    CallStep,
    capability=st.sampled_from(["t.a", "text.make_2", "${input.x}"]),
    input=_MEMBERS,
    policy=st.sampled_from(Policy),
    affinity=_TEXTS,
    select=st.sampled_from(Select),
    quorum=st.none()
    | st.builds(Quorum, items=st.integers(1, 100))
    | st.builds(Quorum, share=st.integers(1, 100).map(lambda percent: percent / 100)),
    max_agents=st.integers(1, 100),
    selector=_TEXTS,
    bids=st.none() | st.builds(Bidding, timeout=_durations(0.001, 300), score=_SOME_TEXTS),
)
_TOLERANCES = st.builds(Tolerance, items=st.integers(0, 10_000)) | st.builds(
    Tolerance, share=st.integers(1, 100).map(lambda percent: percent / 100)
)
_PLAIN_KINDS: st.SearchStrategy[Kind] = st.one_of(
    st.builds(WaitStep, duration=st.none() | _durations(0, 86400)),
    st.builds(WaitStep, until=_TEXTS),
    st.builds(
        SignalStep,
        name=st.from_regex("[a-z][a-z0-9_]{0,8}", fullmatch=True),
        timeout=st.none() | _durations(0.001, 86400),
        on_timeout=st.sampled_from(OnTimeout),
    ),
    st.builds(
        WorkflowStep, workflow=_NAMES, version=st.none() | st.integers(1, 99), input=_MEMBERS
    ),
    st.builds(EmitStep, type=st.sampled_from(["a", "order.placed"]), data=_MEMBERS),
    st.builds(SetStep, values=_MEMBERS, if_version=_TEXTS),
    st.builds(
        FailStep, reason=st.from_regex("[A-Z][A-Z0-9_]{0,8}", fullmatch=True), message=_TEXTS
    ),
    st.builds(ReturnStep, output=_VALUES),
)


def _kinds_around(steps: st.SearchStrategy[Sequence[Step]]) -> st.SearchStrategy[Kind]:
    return st.one_of(
        st.builds(
            MapStep,
            over=_SOME_TEXTS,
            variable=_IDS,
            max_concurrency=st.integers(1, 1000),
            tolerate=_TOLERANCES,
            steps=steps,
        ),
        st.builds(
            SwitchStep,
            cases=st.lists(
                st.builds(Case, when=_SOME_TEXTS, steps=steps), min_size=1, max_size=2
            ).map(tuple),
            default=st.just(()) | steps,
        ),
        st.builds(
            LoopStep,
            while_=_TEXTS,
            until=_TEXTS,
            max_iterations=st.integers(1, 100_000),
            keep_last=st.none() | st.integers(1, 1000),
            steps=steps,
        ),
    )


def _steps_of(
    kinds: st.SearchStrategy[Kind], inner: st.SearchStrategy[Sequence[Step]] | None
) -> st.SearchStrategy[Sequence[Step]]:
    catches: st.SearchStrategy[tuple[Catch, ...]] = st.just(())
    if inner is not None:
        catches = st.lists(st.builds(Catch, errors=_CODES, steps=inner), max_size=1).map(tuple)
    common = {
        "id": _IDS,
        "after": st.lists(_IDS, max_size=2).map(tuple),
        "join": st.none() | st.integers(1, 3),
        "when": _TEXTS,
        "on_error": st.sampled_from(OnError),
        "catch": catches,
        "compensate": st.none()
        | st.builds(Compensation, call=_CALLS, retry=_RETRIES, timeout=_TIMEOUTS),
        "labels": st.dictionaries(_TEXTS, _TEXTS, max_size=2),
    }
    steps = st.builds(Step, kind=kinds, timeout=_CLOSINGS, **common) | st.builds(
        Step,
        kind=_CALLS,
        retry=_RETRIES,
        timeout=_TIMEOUTS,
        at_most_once=st.none() | st.sampled_from(AtMostOnce),
        **common,
    )
    return st.lists(steps, min_size=1, max_size=2).map(tuple)


_INNER = _steps_of(_PLAIN_KINDS, None)
_OUTER = _steps_of(_PLAIN_KINDS | _kinds_around(_INNER), _INNER)

DEFINITIONS = st.builds(
    WorkflowDefinition,
    id=_NAMES,
    description=_TEXTS,
    input_schema=st.none() | _MEMBERS,
    timeout=_durations(0.001, 86400),
    budget=st.builds(
        Budget,
        calls=st.none() | st.integers(1, 10**9),
        tokens=st.none() | st.integers(1, 10**12),
        cost_micros=st.none() | st.integers(1, 10**12),
    ),
    concurrency=st.none() | st.integers(1, 100_000),
    steps=_OUTER,
    output=_VALUES,
)


def as_text(value: Any) -> Any:
    """Return a raw definition with its durations as people write them."""
    if isinstance(value, timedelta):
        return format_duration(value)
    if isinstance(value, Mapping):
        return {key: as_text(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [as_text(item) for item in value]
    return value

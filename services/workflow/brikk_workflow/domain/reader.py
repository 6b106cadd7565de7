"""The keys of the workflow language: their types, their limits, their defaults."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta

from brikk_shared.selection import Policy
from brikk_workflow.domain.definition import (
    AtMostOnce,
    Budget,
    CallStep,
    RetryPolicy,
    Step,
    StepTimeout,
    WorkflowDefinition,
)
from brikk_workflow.domain.fields import Fields
from brikk_workflow.domain.payload import Json
from brikk_workflow.domain.problems import Report
from brikk_workflow.domain.scope import kind_of

MAX_STEPS = 500
MAX_DEPENDENCIES = 500
MAX_NON_RETRYABLE = 50
MAX_TEMPLATE_BYTES = 1 << 16
MAX_SCHEMA_BYTES = 1 << 15
MAX_DEPTH = 16
MAX_CALLS = 10**9
MAX_TOKENS = 10**12
MAX_COST = 10**9
MAX_CONCURRENCY = 100_000

_NAME = (
    re.compile(r"[a-z]([a-z0-9-]*[a-z0-9])?"),
    "a name has letters a-z, digits and -, begins with a letter and does not end with -",
)
_STEP_ID = (
    re.compile(r"(?!(?:in|true|false|null)\Z)[a-z][a-z0-9_]*"),
    "an id has letters a-z, digits and _, begins with a letter and is no word of CEL",
)
_CAPABILITY = (
    re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*"),
    "a capability is words of a-z, 0-9 and _ joined by dots, as in text.summarize",
)
_CODE = (
    re.compile(r"[A-Z][A-Z0-9_]*"),
    "codes and reasons are written in capitals, as in INVALID_ARGUMENT",
)
_INSTANT = timedelta()
_TICK = timedelta(milliseconds=1)
_PULSE = timedelta(milliseconds=100)
_DAY = timedelta(days=1)
_WEEK = timedelta(days=7)
_YEAR = timedelta(days=365)


def read_definition(raw: object, report: Report) -> WorkflowDefinition | None:
    """Return the definition, None if it has no steps; what is wrong is reported and has a default.

    A step without an acceptable id has the empty one.
    """
    fields = Fields(
        raw,
        (),
        report,
        known=(
            "name",
            "description",
            "input_schema",
            "timeout",
            "budget",
            "concurrency",
            "steps",
            "output",
        ),
        required=("name", "steps"),
    )
    name = fields.text("name", longest=63, form=_NAME)
    description = fields.text("description", longest=2000)
    timeout = fields.duration("timeout", _DAY, _TICK, _YEAR)
    budget = _budget(fields)
    concurrency = _bound(fields, "concurrency", MAX_CONCURRENCY)
    input_schema = _object(fields, "input_schema", MAX_SCHEMA_BYTES)
    output = fields.payload("output", max_bytes=MAX_TEMPLATE_BYTES, max_depth=MAX_DEPTH)
    steps: list[Step] = []
    for index, item in enumerate(fields.items("steps", fewest=1, most=MAX_STEPS)):
        steps.append(_step(item, index, steps, report))
    if not steps:
        return None
    return WorkflowDefinition(
        id=name,
        description=description,
        input_schema=input_schema,
        timeout=timeout,
        budget=budget,
        concurrency=concurrency,
        steps=tuple(steps),
        output=output,
    )


def _budget(workflow: Fields) -> Budget:
    fields = workflow.inner("budget", known=("calls", "tokens", "cost"))
    cost = None
    if "cost" in fields:
        cost = round(fields.number("cost", MAX_COST, 1e-6, MAX_COST) * 1_000_000)
    return Budget(
        calls=_bound(fields, "calls", MAX_CALLS),
        tokens=_bound(fields, "tokens", MAX_TOKENS),
        cost_micros=cost,
    )


def _step(raw: object, index: int, above: list[Step], report: Report) -> Step:
    fields = Fields(
        raw,
        ("steps", index),
        report,
        known=("id", "after", "when", "call", "retry", "timeout", "at_most_once"),
        required=("id", "call"),
    )
    after = _texts(fields, "after", MAX_DEPENDENCIES, _STEP_ID)
    if "after" not in fields and above:
        after = (above[-1].id,)
    return Step(
        id=fields.text("id", longest=63, form=_STEP_ID),
        after=after,
        when=fields.text("when", longest=4096),
        call=_call(fields),
        retry=_retry(fields),
        timeout=_timeout(fields),
        at_most_once=_at_most_once(fields),
    )


def _call(step: Fields) -> CallStep:
    known = ("capability", "input", "policy")
    fields = step.inner("call", known=known, required=("capability",))
    return CallStep(
        capability=fields.text("capability", longest=128, form=_CAPABILITY),
        input=_object(fields, "input", MAX_TEMPLATE_BYTES) or {},
        policy=Policy(fields.one_of("policy", tuple(Policy), Policy.BEST)),
    )


def _retry(step: Fields) -> RetryPolicy:
    known = ("max_attempts", "initial", "multiplier", "max", "jitter", "non_retryable")
    fields, default = step.inner("retry", known=known), RetryPolicy()
    return RetryPolicy(
        max_attempts=fields.whole("max_attempts", default.max_attempts, 1, 10_000),
        initial=fields.duration("initial", default.initial, _INSTANT, _DAY),
        multiplier=fields.number("multiplier", default.multiplier, 1, 100),
        max=fields.duration("max", default.max, _INSTANT, _WEEK),
        jitter=fields.number("jitter", default.jitter, 0, 1),
        non_retryable=_texts(fields, "non_retryable", MAX_NON_RETRYABLE, _CODE),
    )


def _timeout(step: Fields) -> StepTimeout:
    known = ("schedule_to_start", "start_to_close", "schedule_to_close", "heartbeat")
    fields, default = step.inner("timeout", known=known), StepTimeout()
    close = heartbeat = None
    if "schedule_to_close" in fields:
        close = fields.duration("schedule_to_close", _YEAR, _TICK, _YEAR)
    if "heartbeat" in fields:
        heartbeat = fields.duration("heartbeat", _DAY, _PULSE, _DAY)
    return StepTimeout(
        schedule_to_start=fields.duration(
            "schedule_to_start", default.schedule_to_start, _INSTANT, _YEAR
        ),
        start_to_close=fields.duration("start_to_close", default.start_to_close, _TICK, _DAY),
        schedule_to_close=close,
        heartbeat=heartbeat,
    )


def _at_most_once(step: Fields) -> AtMostOnce | None:
    if "at_most_once" not in step:
        return None
    return AtMostOnce(step.one_of("at_most_once", tuple(AtMostOnce), AtMostOnce.FAIL))


def _bound(fields: Fields, key: str, most: int) -> int | None:
    """Return the bound under a key, None if there is none."""
    return fields.whole(key, most, 1, most) if key in fields else None


def _texts(
    fields: Fields, key: str, most: int, form: tuple[re.Pattern[str], str]
) -> tuple[str, ...]:
    return tuple(
        text
        for index, item in enumerate(fields.items(key, most=most))
        if (text := fields.as_text(item, (key, index), longest=63, form=form))
    )


def _object(fields: Fields, key: str, max_bytes: int) -> Mapping[str, Json] | None:
    """Return an object of any content under a key, None if there is none."""
    if key not in fields:
        return None
    if not isinstance(fields[key], Mapping):
        fields.wrong(key, f"expected an object, found {kind_of(fields[key])}")
        return None
    value = fields.payload(key, max_bytes=max_bytes, max_depth=MAX_DEPTH)
    return value if isinstance(value, Mapping) else None

"""Followers of an execution hear of what they asked for, and leave nothing behind."""

from __future__ import annotations

import asyncio
import weakref
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from brikk_workflow.domain.record import ExecutionRecord
from brikk_workflow.domain.state import ExecutionState, ExecutionStatus
from brikk_workflow.runtime.changes import Changes

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LONG = timedelta(minutes=1)
AT_ONCE = timedelta(0)

RUNNING = ExecutionRecord(
    execution_id="a",
    organization="acme",
    workflow_id="w",
    version=1,
    requested_transition="",
    state=ExecutionState(started_at=NOW, deadline=NOW + LONG),
    owner="replicas/1",
    epoch=1,
    inbox_seq=0,
    inbox_folded=0,
    input={},
    output=None,
    labels={},
    priority=5,
    retry_of="",
    traceparent="",
    create_time=NOW,
)


def ended(status: ExecutionStatus) -> ExecutionRecord:
    return replace(RUNNING, state=replace(RUNNING.state, status=status))


async def test_who_follows_every_step_is_woken_by_each() -> None:
    changes = Changes()
    with changes.subscribe("a") as subscription:
        for _ in range(3):
            following = asyncio.create_task(subscription.changed(LONG))
            await asyncio.sleep(0)
            assert not following.done()
            changes.moved("a")
            await following
        assert subscription.ended is None


@pytest.mark.parametrize("status", [status for status in ExecutionStatus if status.terminal])
@pytest.mark.parametrize("only_the_end", [False, True])
async def test_at_the_end_everybody_is_woken_and_sees_the_record(
    status: ExecutionStatus, only_the_end: bool
) -> None:
    changes = Changes()
    with changes.subscribe("a", only_the_end=only_the_end) as subscription:
        following = asyncio.create_task(subscription.changed(LONG))
        await asyncio.sleep(0)
        changes.ended(ended(status))
        await following
        assert subscription.ended == ended(status)


async def test_who_follows_only_the_end_sleeps_through_the_steps() -> None:
    changes = Changes()
    with changes.subscribe("a", only_the_end=True) as subscription:
        changes.moved("a")
        assert not subscription.woken.is_set()
        assert subscription.ended is None


async def test_what_happened_before_it_is_asked_for_is_not_missed_and_told_once() -> None:
    changes = Changes()
    with changes.subscribe("a") as subscription:
        changes.moved("a")
        changes.moved("a")
        await subscription.changed(LONG)
        assert not subscription.woken.is_set()


async def test_after_the_timeout_it_returns_though_nothing_happened() -> None:
    changes = Changes()
    with changes.subscribe("a") as subscription:
        await subscription.changed(AT_ONCE)
        assert subscription.ended is None
        changes.moved("a")
        assert subscription.woken.is_set()


async def test_other_executions_wake_nobody() -> None:
    changes = Changes()
    with changes.subscribe("b") as subscription:
        changes.ended(ended(ExecutionStatus.FAILED))
        assert not subscription.woken.is_set()
        assert subscription.ended is None


async def test_who_left_hears_nothing_more_and_the_others_do() -> None:
    changes = Changes()
    with changes.subscribe("a") as stays:
        with changes.subscribe("a") as leaves:
            pass
        changes.ended(ended(ExecutionStatus.SUCCEEDED))
        assert stays.ended is not None
        assert leaves.ended is None
        assert not leaves.woken.is_set()


class Name(str):
    """An execution's id of which a test can tell whether it is still remembered."""


def test_an_execution_that_nobody_follows_any_more_is_forgotten() -> None:
    changes = Changes()
    names: weakref.WeakSet[Name] = weakref.WeakSet()
    for number in range(3):
        name = Name(number)
        names.add(name)
        with (
            pytest.raises(ConnectionError),
            changes.subscribe(name),
            changes.subscribe(name, only_the_end=True),
        ):
            assert name in names
            raise ConnectionError
        changes.moved(name)
    del name
    assert not names

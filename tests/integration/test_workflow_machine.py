"""Three replicas on one store, with crashes, pauses, skewed clocks and lost answers, at random."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import text
from structlog.testing import capture_logs

from brikk.event.v1.event_pb2 import Event
from brikk_shared.errors import Unavailable
from brikk_workflow.domain.wish import WishKind
from brikk_workflow.runtime.starts import Start
from support.chaos import Story, check_announcements, read_stories
from support.databases import fresh_database
from support.directories import Setting
from support.replicas import Agents, Member
from support.scripted_discovery import candidate
from support.stage import ORGANIZATION, Stage

T = TypeVar("T")

FORK = """
name: fork
steps:
  - {id: first, call: {capability: t.always}, retry: {max_attempts: 3, initial: 2s, jitter: 0}}
  - {id: left, after: [first], call: {capability: t.always}}
  - {id: right, after: [first], call: {capability: t.rare}}
  - {id: last, after: [left, right], call: {capability: t.always}}
"""
ONCE = """
name: once
concurrency: 2
steps:
  - {id: pay, call: {capability: t.always}, at_most_once: suspend}
  - {id: book, call: {capability: t.always}, at_most_once: fail}
"""
WISHES = (*(WishKind.PAUSE, WishKind.RESUME) * 2, WishKind.CANCEL, WishKind.TERMINATE)
ROUNDS = 300
"""Of answers and two seconds each: far more than everything needs to end."""
WHO = st.integers(min_value=0, max_value=2)
WHICH = st.integers(min_value=0, max_value=9)
TURNS = st.integers(min_value=0, max_value=8)


class Replicas(RuleBasedStateMachine):
    """A rule does something to a replica, or lets the others go on for some time.

    What the store says afterwards must be so at every moment; at the end everything must end.
    """

    def __init__(self, runner: asyncio.Runner, stage: Stage) -> None:
        super().__init__()
        self.runner = runner
        self.stage = stage
        self.agents = Agents()
        self.members: list[Member] = []
        self.started: set[str] = set()
        self.ends: dict[str, tuple[str, int]] = {}

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    @initialize()
    def begin(self) -> None:
        self.do(self._begin())

    async def _begin(self) -> None:
        self.setting = Setting()
        await self.setting.discovery.offer(candidate("a", "t.always"))
        self.members = [self.member(self.stage.store.now) for _ in range(3)]

    def member(self, now: datetime) -> Member:
        return Member(self.stage.store, self.agents, self.setting, now=now)

    # Rules.

    @rule(
        who=WHO,
        workflow=st.sampled_from(("fork", "fork", "once")),
        request=st.sampled_from(("", "", "one", "two")),
    )
    def start(self, who: int, workflow: str, request: str) -> None:
        self.do(self._start(who, self.stage.order(workflow, request_id=request)))

    async def _start(self, who: int, order: Start) -> None:
        try:
            record = await self.members[who].replica.start(order)
        except Unavailable:
            return  # it may have begun all the same
        if record is not None:
            self.started.add(record.execution_id)

    @rule(who=WHO, which=WHICH)
    def retry(self, who: int, which: int) -> None:
        """What ended badly is started again, with what it had done."""
        self.do(self._retry(who, which))

    async def _retry(self, who: int, which: int) -> None:
        if self.started:
            retried = await self.stage.ended_badly(self.chosen(which))
            if retried is not None:
                workflow = retried.record.workflow_id
                await self._start(who, self.stage.order(workflow, retried=retried))

    def chosen(self, which: int) -> str:
        return sorted(self.started)[which % len(self.started)]

    @rule(which=WHICH, well=st.sampled_from((True, True, True, False)), turns=TURNS)
    def answer(self, which: int, well: bool, turns: int) -> None:
        """An agent answers a call, perhaps one that nobody wants to know about any more."""
        self.do(self._answer(which, well, turns))

    async def _answer(self, which: int, well: bool, turns: int) -> None:
        if pending := self.agents.pending:
            call = pending[which % len(pending)]
            if well:
                call.answer()
            else:
                call.fail()
        await self.stage.turns(turns)

    @rule(turns=TURNS)
    def offer(self, turns: int) -> None:
        """Somebody comes who can do the rare thing."""
        self.do(self.setting.discovery.offer(candidate("b", "t.rare")))
        self.do(self.stage.turns(turns))

    @rule(who=WHO, seconds=st.integers(min_value=0, max_value=3), turns=TURNS)
    def pass_time(self, who: int, seconds: int, turns: int) -> None:
        """Time passes, and one of them notices; the others stand still meanwhile."""
        self.do(self._pass_time(who, seconds, turns))

    async def _pass_time(self, who: int, seconds: int, turns: int) -> None:
        await self.stage.store.advance(timedelta(seconds=seconds))
        self.members[who].catch_up()
        await self.stage.turns(turns)

    @rule(who=WHO, minutes=st.integers(min_value=-90, max_value=90))
    def skew(self, who: int, minutes: int) -> None:
        """Somebody sets the clock of a machine."""
        self.members[who].clock.jump(timedelta(minutes=minutes))

    @rule(who=WHO, lapsed=st.booleans())
    def crash(self, who: int, lapsed: bool) -> None:
        """A replica dies, and another begins; others may not know before its lease has ended."""
        self.do(self._crash(who, lapsed))

    async def _crash(self, who: int, lapsed: bool) -> None:
        dead = self.members[who]
        await dead.crash()
        if lapsed:
            await self.stage.lapse(dead.name)
        # On the same machine.
        self.members[who] = self.member(dead.clock.now())

    @rule(who=WHO, other=WHO, turns=TURNS)
    def pause(self, who: int, other: int, turns: int) -> None:
        """A replica stands still past its lease, and others may take over; then it wakes."""
        self.do(self._pause(who, other, turns))

    async def _pause(self, who: int, other: int, turns: int) -> None:
        await self.stage.lapse(self.members[who].name)
        if other != who:
            await self._pass_time(other, 1, turns)

    @rule(who=WHO, count=st.integers(min_value=1, max_value=2))
    def lose_answers(self, who: int, count: int) -> None:
        """The store will do what a replica says, and not tell."""
        self.members[who].wire.losing = count

    @rule(who=WHO, cut=st.booleans(), turns=TURNS)
    def cut(self, who: int, cut: bool, turns: int) -> None:
        """A replica does not reach the store for a while."""
        self.members[who].wire.cut = cut
        self.do(self.stage.turns(turns))

    @rule(who=WHO, turns=TURNS)
    def drain(self, who: int, turns: int) -> None:
        """A replica is told to end in good order."""
        self.do(self._drain(who, turns))

    async def _drain(self, who: int, turns: int) -> None:
        self.members[who].drain()
        await self.stage.turns(turns)

    @rule(who=WHO, which=WHICH, kind=st.sampled_from(WISHES), turns=TURNS)
    def ask(self, who: int, which: int, kind: WishKind, turns: int) -> None:
        """Somebody asks something of an execution, at whatever replica."""
        self.do(self._ask(who, which, kind, turns))

    async def _ask(self, who: int, which: int, kind: WishKind, turns: int) -> None:
        if self.started:
            execution_id = self.chosen(which)
            await self.stage.wish(execution_id, kind)
            self.members[who].replica.poke(execution_id)
        await self.stage.turns(turns)

    # What must hold.

    @invariant()
    def what_was_decided_stays_so(self) -> None:
        if self.members:
            for story in self.do(read_stories(self.stage.store.url)):
                story.check_so_far()
                if story.ended:
                    end = self.ends.setdefault(story.execution_id, (story.status, story.sequence))
                    assert end == (story.status, story.sequence), f"it went on after its end: {end}"
            self.do(self.stage.check_nothing_forgotten())

    def teardown(self) -> None:
        try:
            if self.members:
                self.do(self._recover())
                self.do(self._check())
        finally:
            self.do(self._leave())

    async def _recover(self) -> None:
        """Everything that was broken is whole again: now all that was begun comes to its end."""
        await self.setting.discovery.offer(candidate("b", "t.rare"))
        for who, member in enumerate(self.members):
            member.wire.cut = False
            member.wire.losing = 0
            if member.draining:
                await self._crash(who, lapsed=True)
        await self.stage.lapse_all_but([member.name for member in self.members])
        left: list[Story] = []
        astray: set[tuple[str, str, int]] = set()
        for number in range(ROUNDS):
            left = [each for each in await read_stories(self.stage.store.url) if not each.ended]
            if not left:
                return
            if number % 10 == 9:
                # There was time to notice what is owned by us and in nobody's memory.
                before, astray = astray, await self._astray()
                assert not before & astray, f"in nobody's memory: {before & astray}"
            if number % 20 == 0:
                # Of those, too, that are suspended because nobody knows what became of a call.
                for story in left:
                    await self.stage.wish(story.execution_id, WishKind.RESUME)
            for call in self.agents.pending:
                call.answer()
            await self.stage.store.advance(timedelta(seconds=2))
            for member in self.members:
                member.catch_up()
            await self.stage.turns(4)
        raise AssertionError(f"stranded: {left}")

    async def _astray(self) -> set[tuple[str, str, int]]:
        """What is held, by the store, and not by anybody who lives."""
        replicas = {member.name: member.replica for member in self.members}
        return {
            (execution_id, owner, epoch)
            for execution_id, owner, epoch in await self.stage.held()
            if owner not in replicas or not replicas[owner].held(ORGANIZATION, execution_id)
        }

    async def _check(self) -> None:
        stories = {each.execution_id: each for each in await read_stories(self.stage.store.url)}
        assert self.started <= stories.keys()
        for story in stories.values():
            story.check()
        async with self.stage.store.reading() as connection:
            outputs = await connection.execute(
                text("SELECT execution_id, step_id, output FROM step_output")
            )
            for execution_id, step_id, output in outputs:
                stories[execution_id].check_output(step_id, json.loads(output))
            rows = await connection.execute(text("SELECT payload FROM outbox ORDER BY id"))
            events = [Event.FromString(payload) for (payload,) in rows]
        check_announcements([*stories.values()], events)
        for (execution, step_id), calls in self.agents.made.items():
            story = stories[execution.removeprefix("executions/")]
            if step_id == "book":
                assert calls == 1, story
            elif step_id == "pay":
                assert calls <= 1 + story.count("execution.resumed"), story

    async def _leave(self) -> None:
        for member in self.members:
            await member.crash()
        await self.stage.clear()


@pytest.mark.parametrize(
    "examples", [12, pytest.param(400, marks=[pytest.mark.long, pytest.mark.timeout(1800)])]
)
def test_whatever_befalls_three_replicas_all_ends_once(examples: int, tmp_path: Path) -> None:
    with capture_logs(), asyncio.Runner() as runner:
        stack = AsyncExitStack()
        database = fresh_database("postgresql", tmp_path, "workflow")
        url = runner.run(stack.enter_async_context(database))
        stage = runner.run(Stage.set_up(stack, url, FORK, ONCE))
        # To the type checker a machine is made from a class alone.
        factory: Any = partial(Replicas, runner, stage)
        try:
            run_state_machine_as_test(
                factory,
                settings=settings(
                    max_examples=examples,
                    stateful_step_count=25,
                    deadline=None,
                    # What the store answers when is not repeated, so there is nothing to shrink by.
                    phases=[Phase.explicit, Phase.generate],
                    suppress_health_check=[HealthCheck.too_slow],
                ),
            )
        finally:
            runner.run(stack.aclose())

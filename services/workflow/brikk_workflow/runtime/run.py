"""One execution held in memory: its events are folded, committed, and then carried out."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

import structlog

from brikk_shared.errors import Unavailable
from brikk_shared.selection import Option
from brikk_workflow.domain.compiled import CompiledChild, CompiledWorkflow
from brikk_workflow.domain.decider import calls_in_flight, decide
from brikk_workflow.domain.decision import (
    AgentAvailable,
    AgentMissing,
    Answer,
    AskBids,
    Call,
    CancelCall,
    Command,
    Continue,
    Decision,
    Event,
    StartChild,
    Suspended,
    TimerFired,
    Values,
)
from brikk_workflow.domain.payload import Json
from brikk_workflow.domain.record import ExecutionRecord
from brikk_workflow.domain.state import ExecutionState, ExecutionStatus, next_wake
from brikk_workflow.domain.waiting import awaited
from brikk_workflow.domain.wish import Wish
from brikk_workflow.runtime.bidding import Bidding
from brikk_workflow.runtime.calls import Calls
from brikk_workflow.runtime.children import Children
from brikk_workflow.runtime.doubts import Doubts, defect
from brikk_workflow.runtime.engine import Engine
from brikk_workflow.runtime.placing import place_calls
from brikk_workflow.runtime.stored import read_stored
from brikk_workflow.store import transitions
from brikk_workflow.store.ownership import Leaving
from brikk_workflow.store.transitions import Move

log = structlog.get_logger()

DEFECT_PAUSE = timedelta(seconds=1)
"""How long to wait before a transition that failed by a defect is tried again."""


class Run:
    """An execution that this replica holds, from its claim until it ends or leaves memory.

    Only `follow` changes it: everything else posts an event. Calls are made after the commit that
    records them, so a crash leaves at most calls that are made again.
    """

    def __init__(
        self,
        engine: Engine,
        workflow: CompiledWorkflow,
        record: ExecutionRecord,
        outputs: Mapping[str, Json],
    ) -> None:
        self._engine = engine
        self._workflow = workflow
        self._record = record
        self._state = record.state
        self._outputs = dict(outputs)
        self._output = record.output
        self._head = record.head
        self._folded = record.inbox_folded
        self._wishes_read = record.inbox_folded
        self._events: list[Event | Wish] = []
        self._woken = asyncio.Event()
        self._calls = Calls(
            engine,
            organization=record.organization,
            execution=f"executions/{record.execution_id}",
            traceparent=record.traceparent,
            post=self.post,
            settled=self._woken.set,
        )
        self._bidding = Bidding(
            engine,
            organization=record.organization,
            execution=f"executions/{record.execution_id}",
            traceparent=record.traceparent,
            post=self.post,
            settled=self._woken.set,
        )
        self._children = Children(engine, record, post=self.post)
        self._doubts = Doubts()
        self._draining = False
        self._lost = False

    @property
    def execution_id(self) -> str:
        """Last segment of its name."""
        return self._record.execution_id

    @property
    def record(self) -> ExecutionRecord:
        """The execution as it was last committed."""
        return replace(
            self._record,
            state=self._state,
            output=self._output,
            inbox_folded=self._folded,
            head=self._head,
        )

    @property
    def limited(self) -> bool:
        """Whether its workflow limits how many run at once."""
        return self._workflow.definition.concurrency is not None

    @property
    def wishes_read(self) -> int:
        """How far its inbox was read."""
        return self._wishes_read

    def post(self, event: Event) -> None:
        """Queues something that happened."""
        self._events.append(event)
        self._woken.set()

    def post_wishes(self, wishes: Sequence[Wish]) -> None:
        """Queues what was read from the inbox, once each."""
        for wish in wishes:
            if wish.inbox_seq > self._wishes_read:
                self._wishes_read = wish.inbox_seq
                self._events.append(wish)
        self._woken.set()

    def drain(self) -> None:
        """Begins no further call; the execution leaves once those in flight have been recorded.

        A step whose turn comes meanwhile waits for an agent, as if there were none: nobody has to
        ask whether its call was lost.
        """
        self._draining = True
        self._children.let_go()
        self._woken.set()

    async def follow(self, commands: Sequence[Command], candidates: Mapping[str, Option]) -> None:
        """Runs the execution until it ends, is lost to another replica, or leaves memory.

        `commands` are what the decision ordered that was just committed, and `candidates` where
        its calls go.
        """
        try:
            self._carry_out(commands, candidates)
            while not (self._lost or self._state.status.terminal):
                under_way = self._calls or self._bidding or self._children
                waits = not under_way and not self._events
                if waits and await self._leave():
                    break
                await self._woken.wait()
                self._woken.clear()
                if self._events:
                    await self._take_events()
        finally:
            self._calls.cancel_all()
            self._bidding.cancel_all()
            self._children.let_go()
            self._engine.timers.drop(self.execution_id)
            self._engine.waiting.leave(self.execution_id)

    async def _leave(self) -> bool:
        """Leaves memory, if there is nothing to do here for a while or this replica drains.

        What comes from then on finds the execution by its row: a wish and a timer by its wake-up,
        an agent by what it waits for.
        """
        wake = next_wake(self._state)
        if not self._draining and not self._engine.departures.is_far(wake):
            return False
        waits = awaited(self._workflow, self._state)
        leaving = Leaving(
            organization=self._record.organization,
            execution_id=self.execution_id,
            epoch=self._record.epoch,
            sequence=self._state.sequence,
            wake_at=wake,
            awaited=waits,
            at_once=self._draining,
        )
        try:
            left = await self._engine.departures.submit(leaving)
        except Unavailable as error:
            log.warning("store does not answer", execution=self.execution_id, reason=error.reason)
            left = False
            if not self._draining:
                await self._read_again()
        if left:
            self._engine.rousing.left(self._record.organization, waits)
        # In a drain what stays is let go with the rest.
        return left or self._draining

    async def _take_events(self) -> None:
        """Folds what was posted; what keeps failing by a defect suspends the execution instead."""
        posted = self._doubts.take(self._events)
        self._events = self._events[len(posted) :]
        folded = max(
            (each.inbox_seq for each in posted if isinstance(each, Wish)), default=self._folded
        )
        try:
            await self._fold(posted, folded)
        except Exception as error:  # whatever it is, it must stop this execution only
            log.exception("transition fails", execution=self.execution_id)
            if self._doubts.blame(posted):
                await self._fold([Suspended(failure=defect(error))], folded)
            else:
                self._events[:0] = posted
                await self._engine.clock.sleep(DEFECT_PAUSE)
        else:
            self._doubts.settle(left=bool(self._events))
        if self._events:
            self._woken.set()

    async def _fold(self, posted: Sequence[Event | Wish], folded: int) -> None:
        events = [each.event() if isinstance(each, Wish) else each for each in posted]
        decision, candidates, now = await self._decide(events)
        if not decision.history and folded == self._folded:
            self._carry_out((), {})
            return
        try:
            written = await self._engine.commits.submit(self._move(decision, folded, now))
        except Unavailable as error:
            log.warning("store does not answer", execution=self.execution_id, reason=error.reason)
            written = transitions.NOT_APPLIED
        if not written.applied:
            # Not ours any more, or our own commit succeeded and its reply was lost: the row tells.
            self._events[:0] = posted
            await self._read_again()
            return
        before, self._state = self._state, decision.state
        for path in decision.dropped:
            self._outputs.pop(path, None)
        self._outputs.update(decision.outputs)
        self._output = decision.output
        self._head, self._folded = written.head, folded
        self._engine.outbox.wake()
        if not self._state.status.terminal:
            self._engine.changes.moved(self.execution_id)
        else:
            self._engine.changes.ended(self.record)
        self._carry_out(decision.commands, candidates)
        if decision.unfinished and not self._draining:
            self.post(Continue())
        if self._state.status is ExecutionStatus.QUARANTINED is not before.status:
            self._engine.metrics.quarantined.inc()
        if before.status is ExecutionStatus.QUARANTINED is not self._state.status:
            # What could not be folded may have been the answer to a call that is still recorded.
            await self._read_again()

    async def _decide(
        self, events: Sequence[Event]
    ) -> tuple[Decision, Mapping[str, Option], datetime]:
        values, now = self._values(), self._engine.clock.now()

        def decided(state: ExecutionState, events: Sequence[Event], values: Values) -> Decision:
            return decide(
                self._workflow, state, events, values=values, now=now, random=self._engine.random
            )

        decision, candidates = await place_calls(
            decided(self._state, events, values),
            directory=self._engine.directory,
            organization=self._record.organization,
            follow=lambda made, found: decided(made.state, found, values.after(made)),
            calling=not self._draining,
        )
        return decision, candidates, now

    def _move(self, decision: Decision, folded: int, now: datetime) -> Move:
        state = decision.state
        return Move(
            changes=transitions.Changes(
                execution_id=self.execution_id,
                state=state,
                owner=None if state.status.terminal else self._engine.replica,
                wake_at=next_wake(state),
                output=decision.output,
                outputs=decision.outputs,
                dropped=decision.dropped,
                history=decision.history,
                organization=self._record.organization,
                traceparent=self._record.traceparent,
                announcements=decision.announcements,
                time=now,
                head=self._head,
            ),
            epoch=self._record.epoch,
            sequence=self._state.sequence,
            inbox_folded=folded,
        )

    async def _read_again(self) -> None:
        """Takes what is stored for the truth, and makes the calls it records and we did not."""
        stored, outputs = await read_stored(self._engine, self._record)
        if (
            stored is None
            or stored.owner != self._engine.replica
            or stored.epoch != self._record.epoch
        ):
            log.info("execution is held elsewhere", execution=self.execution_id)
            self._lost = not (stored and stored.state.status.terminal)
            self._state = stored.state if stored else self._state
            return
        self._state, self._outputs = stored.state, dict(outputs)
        self._head, self._folded = stored.head, stored.inbox_folded
        self._events = [
            each
            for each in self._events
            if not isinstance(each, Wish) or each.inbox_seq > stored.inbox_folded
        ]
        # What the fold that was not written would have gone on with.
        self.post(Continue())
        orders = calls_in_flight(self._workflow, self._state, self._values())
        # Neither what is in flight, nor what was answered meanwhile and is yet to be folded.
        known = {each.token for each in self._events if isinstance(each, Answer)}
        unsent = [
            each
            for each in orders
            if each.token not in self._calls
            and each.token not in self._bidding
            and each.token not in self._children
            and each.token not in known
        ]
        candidates: dict[str, Option] = {}
        for order in unsent:
            if not isinstance(order, Call):
                continue
            # The agent that the history names, or none: the step then waits for another.
            candidate = self._engine.directory.find(
                self._record.organization, order.capability, self._state.step(order.step_id).agent
            )
            if candidate is None:
                self.post(AgentMissing(step_id=order.step_id, token=order.token))
            else:
                candidates[order.token] = candidate
        self._carry_out(
            [each for each in unsent if not isinstance(each, Call) or each.token in candidates],
            candidates,
        )

    def _carry_out(self, commands: Sequence[Command], candidates: Mapping[str, Option]) -> None:
        """Does what the committed state asks for: calls, cancels, waits, the next wake-up."""
        for command in commands:
            match command:
                case Call():
                    self._calls.send(command, candidates[command.token])
                case AskBids():
                    self._bidding.ask(command)
                case StartChild() if not self._draining:
                    self._children.run(command)
                case CancelCall(step_id=path, token=token):
                    if isinstance(self._workflow.at(path).work, CompiledChild):
                        self._children.cancel(token, path)
                    else:
                        self._calls.cancel(token)
                        self._bidding.cancel(token)
        if self._draining:
            return
        for capability in awaited(self._workflow, self._state):
            self._engine.waiting.enter(
                self._record.organization,
                capability,
                self.execution_id,
                partial(self.post, AgentAvailable(capability=capability)),
            )
        if wake := next_wake(self._state):
            self._engine.timers.set(self.execution_id, wake, lambda: self.post(TimerFired()))

    def _values(self) -> Values:
        return Values(execution=self.execution_id, input=self._record.input, outputs=self._outputs)

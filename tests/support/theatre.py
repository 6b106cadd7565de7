"""A program on the engine's core, in memory: replicas crash, and the store loses replies."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random

from brikk_shared.errors import Reason
from brikk_workflow.domain.decider import calls_in_flight, decide
from brikk_workflow.domain.decision import (
    Admitted,
    AgentAvailable,
    AgentMissing,
    Answer,
    AttemptFailed,
    AttemptSucceeded,
    Call,
    CallsLost,
    CancelCall,
    CancelRequested,
    ChildStarted,
    Command,
    Continue,
    Decision,
    Event,
    PauseRequested,
    ResumeRequested,
    SignalReceived,
    StartChild,
    TimerFired,
)
from brikk_workflow.domain.failure import Failure, child_failed
from brikk_workflow.domain.payload import Json
from brikk_workflow.domain.state import ExecutionStatus, next_wake
from brikk_workflow.domain.state_json import state_from_json, state_to_json
from brikk_workflow.domain.usage import Usage
from brikk_workflow.domain.waiting import awaited
from support.any_program import ROOT, Program
from support.canned_agents import Refusal, answer
from support.outcomes import Outcome
from support.play import NOW, Play

MOST_MOVES = 20_000
_INSTANT = timedelta(milliseconds=1)


@dataclass
class _Part:
    """An execution: `orders` are the calls and children that it waits for, `posted` what comes."""

    name: str
    play: Play
    above: str = ""
    orders: dict[str, Call | StartChild] = field(default_factory=dict)
    posted: deque[Event] = field(default_factory=deque)
    undone: dict[str, tuple[str, str, Json]] = field(default_factory=dict)


class Theatre:
    """Plays a program to its end; what happens next, and what goes wrong, is drawn."""

    def __init__(
        self,
        program: Program,
        random: Random,
        given: Mapping[str, Json],
        signals: Sequence[tuple[str, Json]],
    ) -> None:
        self._program = program
        self._random = random
        self._now: datetime = NOW
        self._signals = deque(SignalReceived(name=name, data=data) for name, data in signals)
        self._late: list[tuple[str, Event]] = []
        self._parts: dict[str, _Part] = {}
        self._stage("", ROOT, given, queued=self._one_in(4))

    def outcome(self) -> Outcome:
        """Play until everything has ended."""
        for _ in range(MOST_MOVES):
            if all(part.play.status().terminal for part in self._parts.values()):
                return self._outcome("")
            self._move()
        raise AssertionError("it does not end")

    def _stage(
        self,
        name: str,
        workflow: str,
        given: Mapping[str, Json],
        above: str = "",
        order: StartChild | None = None,
        *,
        queued: bool = False,
    ) -> None:
        play = Play(
            self._program.workflows[workflow],
            given,
            now=self._now,
            queued=queued,
            inherited=order.inherited if order else None,
        )
        part = self._parts[name] = _Part(name=name, play=play, above=above)
        if queued:
            part.posted.append(Admitted())
        self._carry_out(part, play.last)

    # What happens.

    def _move(self) -> None:
        if self._one_in(6):
            self._disturb()
        live = [part for part in self._parts.values() if not part.play.status().terminal]
        busy = [part for part in live if part.posted or self._answerable(part)]
        if self._signals and (not busy or self._one_in(3)):
            most = min(len(self._signals), self._random.randint(1, 40))
            self._tell(self._parts[""], *(self._signals.popleft() for _ in range(most)))
        elif busy:
            part = self._random.choice(busy)
            self._tell(part, *(self._event(part) for _ in range(self._few(part))))
        else:
            self._pass_time(live)

    def _few(self, part: _Part) -> int:
        most = len(part.posted) + len(self._answerable(part))
        return self._random.randint(1, min(3, most)) if most > 1 else 1

    def _event(self, part: _Part) -> Event:
        tokens = self._answerable(part)
        if part.posted and (not tokens or self._one_in(2)):
            return part.posted.popleft()
        order = part.orders.pop(self._random.choice(tokens))
        event = self._answer(part, order)
        self._late.append((part.name, event))
        return event

    def _answerable(self, part: _Part) -> list[str]:
        return [
            token
            for token, order in part.orders.items()
            if isinstance(order, Call) or self._child(part, order).play.status().terminal
        ]

    def _answer(self, part: _Part, order: Call | StartChild) -> Event:
        if isinstance(order, StartChild):
            return _end_of(order, self._child(part, order))
        if self._one_in(12):
            return AgentMissing(step_id=order.step_id, token=order.token)
        return _answer_to(order)

    def _child(self, part: _Part, order: StartChild) -> _Part:
        return self._parts[f"{part.name}>{order.step_id}"]

    def _pass_time(self, live: Sequence[_Part]) -> None:
        """Nothing else can happen: go to the time for which somebody waits."""
        wakes = [wake for part in live if (wake := next_wake(part.play.state))]
        assert wakes, "stranded"
        self._now = max(self._now, min(wakes))
        due = [
            part
            for part in live
            if (wake := next_wake(part.play.state)) is not None and wake <= self._now
        ]
        assert due
        for part in due:
            self._tell(part, TimerFired())

    # What goes wrong.

    def _disturb(self) -> None:
        part = self._random.choice(list(self._parts.values()))
        match self._random.choice(["crash", "crash", "again", "pause", "nothing"]):
            case "crash":
                self._crash(part)
            case "again" if self._late:
                name, event = self._random.choice(self._late)
                self._tell(self._parts[name], event)
            case "pause":
                part.posted.append(ResumeRequested())
                self._tell(part, PauseRequested())
            case _:
                self._tell(part, TimerFired(), Continue())

    def _crash(self, part: _Part) -> None:
        """Whoever held it is gone, and what it had ordered is answered to nobody."""
        for order in part.orders.values():
            if isinstance(order, Call):
                self._late.append((part.name, _answer_to(order)))
        part.orders.clear()
        part.posted = deque(each for each in part.posted if each != Continue())
        self._reload(part)
        self._tell(part, CallsLost())

    def _reload(self, part: _Part) -> None:
        play = part.play
        play.state = state_from_json(json.loads(json.dumps(state_to_json(play.state))))
        play.outputs = json.loads(json.dumps(play.outputs))

    # What is decided.

    def _tell(self, part: _Part, *events: Event) -> None:
        play = part.play
        play.now = self._now
        if play.status().terminal:
            return
        fate = self._random.randrange(12)
        if fate == 1:  # it was not written
            self._decide(part, events)
            events = (*events, Continue())
        elif fate == 2:  # it was, and nobody was told
            decision = play.take(self._decide(part, events))
            self._note(part, decision.commands)
            self._cancel(part, [each for each in decision.commands if isinstance(each, CancelCall)])
            self._reload(part)
            told = {each.token for each in events if isinstance(each, Answer)}
            flying = calls_in_flight(play.workflow, play.state, play.values)
            self._send(
                part,
                [
                    each
                    for each in flying
                    if isinstance(each, Call | StartChild) and each.token not in told
                ],
            )
            events = (*events, Continue())
            if play.status().terminal:
                return
        self._carry_out(part, play.take(self._decide(part, events)))

    def _decide(self, part: _Part, events: Sequence[Event]) -> Decision:
        play = part.play
        return decide(
            play.workflow,
            play.state,
            events,
            values=play.values,
            now=self._now,
            random=lambda: 0.5,
        )

    def _carry_out(self, part: _Part, decision: Decision) -> None:
        self._note(part, decision.commands)
        self._cancel(part, [each for each in decision.commands if isinstance(each, CancelCall)])
        self._send(
            part, [each for each in decision.commands if isinstance(each, Call | StartChild)]
        )
        if decision.unfinished:
            part.posted.append(Continue())
        for capability in awaited(part.play.workflow, part.play.state):
            available = AgentAvailable(capability=capability)
            if available not in part.posted:
                part.posted.append(available)

    def _note(self, part: _Part, commands: Sequence[Command]) -> None:
        for each in commands:
            if isinstance(each, Call) and each.step_id.endswith("/compensate"):
                part.undone.setdefault(each.step_id, (each.step_id, each.capability, each.input))

    def _cancel(self, part: _Part, cancels: Sequence[CancelCall]) -> None:
        for each in cancels:
            order = part.orders.pop(each.token, None)
            if isinstance(order, StartChild):
                self._tell(self._child(part, order), CancelRequested())

    def _send(self, part: _Part, orders: Sequence[Call | StartChild]) -> None:
        for order in orders:
            if order.token in part.orders:
                continue
            part.orders[order.token] = order
            if isinstance(order, StartChild):
                name = f"{part.name}>{order.step_id}"
                if name not in self._parts:
                    self._stage(name, order.workflow, order.input, part.name, order)
                part.posted.append(
                    ChildStarted(step_id=order.step_id, token=order.token, execution=name)
                )

    # How it ended.

    def _outcome(self, name: str) -> Outcome:
        part = self._parts[name]
        state = part.play.state
        failure = state.failure
        return Outcome(
            status=state.status,
            output=part.play.last.output if state.status is ExecutionStatus.SUCCEEDED else None,
            failure=(failure.code, failure.reason.value) if failure else None,
            steps={path: step.status for path, step in state.steps.items()},
            undone=list(part.undone.values()),
            emitted=[
                (kind.removeprefix("custom."), data)
                for kind, data in part.play.announced
                if kind.startswith("custom.")
            ],
            attempts=state.usage.tokens,
            children={
                each.removeprefix(f"{name}>"): self._outcome(each)
                for each, child in self._parts.items()
                if child.above == name and each != name
            },
        )

    def _one_in(self, many: int) -> bool:
        return self._random.randrange(many) == 1


def _answer_to(call: Call) -> Event:
    answered = answer(call.capability, call.input, call.attempt)
    if isinstance(answered, Refusal):
        return AttemptFailed(
            step_id=call.step_id,
            token=call.token,
            agent="agents/x",
            latency=_INSTANT,
            failure=Failure(code=answered.code, reason=Reason.AGENT_FAILED, message="as canned"),
            usage=Usage(tokens=1),
        )
    return AttemptSucceeded(
        step_id=call.step_id,
        token=call.token,
        agent="agents/x",
        latency=_INSTANT,
        output=answered,
        usage=Usage(tokens=1),
    )


def _end_of(order: StartChild, child: _Part) -> Event:
    state = child.play.state
    if state.status is ExecutionStatus.SUCCEEDED:
        return AttemptSucceeded(
            step_id=order.step_id,
            token=order.token,
            agent="",
            latency=_INSTANT,
            output=child.play.last.output,
            usage=state.usage,
            calls=state.calls,
        )
    return AttemptFailed(
        step_id=order.step_id,
        token=order.token,
        agent="",
        latency=_INSTANT,
        failure=child_failed(child.name, state.failure),
        usage=state.usage,
        calls=state.calls,
    )

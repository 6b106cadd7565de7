"""How steps begin, are called, wait, succeed and fail, and what follows for the steps around."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from brikk_workflow.domain import instants, loops, maps, several, waits
from brikk_workflow.domain.children import MAX_DEPTH, bequeath, depth_of, make_child
from brikk_workflow.domain.compensation import close, remember, undone
from brikk_workflow.domain.compiled import (
    CATCH,
    COMPENSATE,
    Body,
    CompiledCall,
    CompiledChild,
    CompiledEmit,
    CompiledFail,
    CompiledLoop,
    CompiledMap,
    CompiledReturn,
    CompiledSet,
    CompiledSeveral,
    CompiledSignal,
    CompiledStep,
    CompiledSwitch,
    CompiledWait,
    Role,
)
from brikk_workflow.domain.decision import BidsReceived
from brikk_workflow.domain.definition import OnError
from brikk_workflow.domain.draft import Draft
from brikk_workflow.domain.endings import finish
from brikk_workflow.domain.expression import ExpressionFailed
from brikk_workflow.domain.failure import Failure, carried, step_failed, too_deep
from brikk_workflow.domain.orders import make_call, render
from brikk_workflow.domain.outcome import Done, Failed, Outcome
from brikk_workflow.domain.payload import Json, PayloadRefused, check
from brikk_workflow.domain.state import PENDING, ExecutionStatus, StepState, StepStatus
from brikk_workflow.domain.usage import NO_USAGE, Usage, used_up


def proceed(draft: Draft) -> None:
    """Begin the steps that have become ready, and those that this makes ready in turn.

    A held execution begins nothing.
    """
    while draft.ready and draft.running:
        _begin(draft, draft.ready.popleft())
    draft.ready.clear()


def enter(draft: Draft) -> None:
    """Begin the steps of the workflow whose turn has come; it ends when nothing is left to do."""
    body = draft.workflow.body
    draft.enter("", body)
    proceed(draft)
    if draft.running and draft.closing is None and draft.has_ended("", body):
        _complete(draft)


def order(
    draft: Draft, path: str, step: StepState, attempt: int, attempt_at: datetime | None
) -> None:
    """Order a call under a token of its own, for a new attempt or one that goes on."""
    compiled = draft.workflow.at(path)
    undoing = compiled.step.id == COMPENSATE
    if not undoing and (broke := used_up(draft.budget, draft.calls, draft.usage)):
        close(draft, ExecutionStatus.FAILED, broke)
        return
    try:
        rendered = render(draft.reading, path, compiled, draft.undo)
    except (ExpressionFailed, PayloadRefused) as error:
        fail(draft, path, step, Failure.of(error))
        return
    draft.dispatches += 1
    draft.calls += 1
    written = compiled.call.kind
    called = StepState(
        status=StepStatus.RUNNING,
        attempt=attempt,
        token=f"{path}-{attempt}-{draft.dispatches}",
        agent=rendered.agent or step.agent,
        failure=step.failure,
        started_at=step.started_at or draft.now,
        attempt_at=attempt_at,
        close_by=step.close_by or _close_by(draft, compiled),
        capability=rendered.capability if rendered.capability != written.capability else "",
        selector=rendered.selector if rendered.selector != written.selector else "",
    )
    draft.steps[path] = called
    draft.orders[called.token] = make_call(path, compiled, called, rendered)
    draft.journal.attempt_started(path, called)


def muster(draft: Draft, path: str, work: CompiledSeveral) -> None:
    """Ask who is there for a step that calls several."""
    draft.journal.step_started(path)
    compiled = draft.workflow.at(path)
    _try(draft, path, partial(several.begin, draft, path, compiled, work))


def take_bids(draft: Draft, event: BidsReceived) -> None:
    """Award the work of a step to whom bid best."""
    compiled = draft.workflow.at(event.step_id)
    work = compiled.work
    assert isinstance(work, CompiledSeveral)  # it asked for them
    _try(draft, event.step_id, partial(several.award, draft, compiled, work, event))


def run_child(draft: Draft, path: str, step: StepState) -> None:
    """Order the run of a step's workflow, or the finding of the one that runs already."""
    compiled = draft.workflow.at(path)
    if depth_of(draft) >= MAX_DEPTH:
        fail(draft, path, step, too_deep(MAX_DEPTH))
        return
    draft.dispatches += 1
    token = f"{path}-1-{draft.dispatches}"
    try:
        child = make_child(draft.reading, path, compiled, token, bequeath(draft.workflow, draft))
    except (ExpressionFailed, PayloadRefused) as error:
        fail(draft, path, step, Failure.of(error))
        return
    draft.steps[path] = replace(
        step,
        status=StepStatus.RUNNING,
        attempt=1,
        token=token,
        started_at=step.started_at or draft.now,
        attempt_at=draft.now,
        close_by=step.close_by or _close_by(draft, compiled),
    )
    draft.orders[token] = child
    draft.journal.attempt_started(path, draft.steps[path])


def wait(draft: Draft, path: str, step: StepState) -> None:
    """Wait for an agent until schedule_to_start, counted from the attempt's beginning."""
    limit = draft.workflow.at(path).step.timeout.schedule_to_start
    draft.journal.waiting(path, step)
    draft.steps[path] = replace(
        step,
        status=StepStatus.WAITING,
        token="",
        due_at=(step.attempt_at or draft.clock) + limit,
    )


def succeed(
    draft: Draft,
    path: str,
    output: Json,
    agent: str = "",
    latency: timedelta = timedelta(),
    usage: Usage = NO_USAGE,
) -> None:
    """End a step with its output, of the agent that gave it; what waited for it is ready."""
    compiled, step = draft.workflow.at(path), draft.steps[path]
    if compiled.bodies:
        _clear(draft, path, compiled, step)
    done = StepState(
        status=StepStatus.SUCCEEDED,
        attempt=step.attempt,
        agent=agent or step.agent,
        started_at=step.started_at,
        attempt_at=step.attempt_at,
        close_by=step.close_by,
        ended_at=draft.now,
        capability=step.capability,
        progress=step.progress,
        child=step.child,
    )
    draft.steps[path] = done
    draft.accept(path, output)
    if compiled.compensate is not None:
        try:
            remember(draft, path, compiled)
        except (ExpressionFailed, PayloadRefused) as error:
            draft.drop(path)
            failed = replace(step, token="", agent=done.agent)
            fail(draft, path, failed, Failure.of(error), latency)
            return
    draft.journal.step_succeeded(path, done, latency, usage)
    _settle(draft, path, compiled)


def skip(draft: Draft, path: str, why: Mapping[str, Json], output: Json = None) -> None:
    """End a step that is not done; `why` says who wanted that, empty: the workflow."""
    compiled, step = draft.workflow.at(path), draft.step(path)
    draft.withdraw(path, step)
    _stop_inside(draft, path, compiled, step)
    draft.steps[path] = replace(
        step, status=StepStatus.SKIPPED, token="", failure=None, due_at=None, ended_at=draft.now
    )
    draft.accept(path, output)
    draft.journal.step_skipped(path, why)
    _settle(draft, path, compiled)


def conclude(draft: Draft, path: str, outcome: Outcome) -> None:
    """Do what the room of a step's kind said."""
    if isinstance(outcome, Done):
        succeed(draft, path, outcome.output)
    elif isinstance(outcome, Failed):
        fail(draft, path, draft.step(path), outcome.failure)


def fail(
    draft: Draft,
    path: str,
    step: StepState,
    failure: Failure,
    latency: timedelta = timedelta(),
) -> None:
    """Fail a step: one of its catches begins, or it is over, for its scope too unless it goes on.

    What runs inside it is cancelled.
    """
    compiled = draft.workflow.at(path)
    draft.withdraw(path, step)
    _stop_inside(draft, path, compiled, step)
    step = replace(step, token="", failure=failure, due_at=None)
    if step.caught is None:
        for place, catch in enumerate(compiled.catches):
            if not catch.errors or not catch.errors.isdisjoint(failure.names):
                draft.steps[path] = replace(
                    step,
                    status=StepStatus.RUNNING,
                    started_at=step.started_at or draft.now,
                    # It may be their lack of time that is caught.
                    close_by=_close_by(draft, compiled),
                    caught=place,
                )
                draft.journal.step_caught(path, failure, place)
                draft.enter(f"{path}/{CATCH}/", catch.body)
                return
    step = replace(step, status=StepStatus.FAILED, ended_at=draft.now)
    draft.steps[path] = step
    draft.journal.step_failed(path, step, latency)
    if compiled.step.on_error is OnError.CONTINUE or compiled.step.id == COMPENSATE:
        _settle(draft, path, compiled)
    else:
        _fail_scope(draft, path, compiled, failure)


def go_on(draft: Draft) -> None:
    """Do what was left undone while the execution was held, or an earlier decision left over."""
    if not draft.running:
        return
    for path, step in draft.under_way(StepStatus.RUNNING):
        work = draft.workflow.at(path).work
        if step.caught is None and draft.steps.get(path) is step:
            if isinstance(work, CompiledMap):
                conclude(draft, path, maps.go_on(draft, path, work))
            elif isinstance(work, CompiledLoop):
                _try(draft, path, partial(loops.go_on, draft, path, work))
            elif isinstance(work, CompiledSeveral) and step.progress is not None:
                several.go_on(draft, path)
            elif isinstance(work, CompiledSeveral) and not step.token:
                muster(draft, path, work)
    if draft.closing is not None:
        close(draft, draft.closing.status, draft.closing.failure)
        proceed(draft)
        return
    for prefix, body in _live(draft).items():
        draft.enter(prefix, body)
    enter(draft)


def _close_by(draft: Draft, compiled: CompiledStep) -> datetime | None:
    limit = compiled.step.timeout.schedule_to_close
    return None if limit is None else draft.now + limit


def _begin(draft: Draft, path: str) -> None:
    """Skip a step, order its first call, or let the room of its kind begin it."""
    if path in draft.steps:
        return
    compiled = draft.workflow.at(path)
    try:
        wanted = compiled.when is None or compiled.when.holds(draft.scope(path, compiled))
        if compiled.step.join is not None and not _join(draft, path, compiled, compiled.step.join):
            wanted = False
    except ExpressionFailed as error:
        fail(draft, path, PENDING, Failure.of(error))
        return
    if wanted and isinstance(compiled.work, CompiledCall):
        order(draft, path, PENDING, 1, draft.now)
        return
    if wanted and isinstance(compiled.work, CompiledChild):
        run_child(draft, path, PENDING)
        return
    draft.turns += 1
    if wanted:
        draft.steps[path] = StepState(
            status=StepStatus.RUNNING, started_at=draft.now, close_by=_close_by(draft, compiled)
        )
        _try(draft, path, partial(_enter_room, draft, path, compiled))
    else:
        skip(draft, path, {})


def _enter_room(draft: Draft, path: str, compiled: CompiledStep) -> Outcome:
    """Let the room of a step's kind begin it. Raises ExpressionFailed and PayloadRefused."""
    work = compiled.work
    match work:
        case CompiledSwitch():
            return instants.switch(draft, path, compiled, work)
        case CompiledSet():
            return instants.set_state(draft, path, compiled, work)
        case CompiledEmit():
            return instants.emit(draft, path, compiled, work)
        case CompiledFail():
            return instants.fail(draft, path, compiled, work)
        case CompiledReturn():
            _return(draft, path, work.output.render(draft.scope(path, compiled)))
            return None
    draft.journal.step_started(path)
    match work:
        case CompiledSeveral():
            return several.begin(draft, path, compiled, work)
        case CompiledMap():
            return maps.begin(draft, path, compiled, work)
        case CompiledLoop():
            return loops.begin(draft, path, work)
        case CompiledWait():
            return waits.begin_wait(draft, path, compiled, work)
        case CompiledSignal():
            return waits.begin_signal(draft, path, work)
        case CompiledCall() | CompiledChild():
            raise AssertionError("they are ordered")


def _try(draft: Draft, path: str, do: Callable[[], Outcome]) -> None:
    """Do what may fail by the values of this execution; then the step fails."""
    try:
        outcome = do()
    except (ExpressionFailed, PayloadRefused) as error:
        outcome = Failed(Failure.of(error))
    conclude(draft, path, outcome)


def _return(draft: Draft, path: str, output: Json) -> None:
    """End the execution. Raises PayloadRefused."""
    check(output, "output")
    done = replace(draft.steps[path], status=StepStatus.SUCCEEDED, ended_at=draft.now)
    draft.steps[path] = done
    draft.journal.step_succeeded(path, done)
    draft.ready.clear()
    finish(draft, output)


def _join(draft: Draft, path: str, compiled: CompiledStep, least: int) -> bool:
    """Tell whether enough steps before a step have succeeded; if so nobody else is waited for."""
    prefix = compiled.prefix(path)
    if draft.joined(prefix, compiled)[0] < least:
        return False
    for before in compiled.step.after:
        loser, step = prefix + before, draft.step(prefix + before)
        others = compiled.body.steps[before].dependents
        if step.status.under_way and not any(
            prefix + other not in draft.steps for other in others if other != compiled.step.id
        ):
            _stop_inside(draft, loser, compiled.body.steps[before], step)
            draft.cancel(loser, step)
    return True


def _settle(draft: Draft, path: str, compiled: CompiledStep) -> None:
    """A step has ended and its scope goes on, or ends with it."""
    if compiled.step.id == COMPENSATE:
        undone(draft)
        return
    draft.ready.extend(draft.freed_by(path, compiled))
    prefix, body = compiled.prefix(path), compiled.body
    if not draft.has_ended(prefix, body):
        return
    if body.role is Role.TOP:
        _complete(draft)
        return
    container, work = body.container(prefix), draft.workflow.steps[body.owner].work
    output = draft.reading.output(prefix + body.last)
    number = body.number(prefix)
    if body.role is Role.LEG:
        assert isinstance(work, CompiledSeveral)  # it has legs
        _try(draft, container, partial(several.ended, draft, container, work, number, output))
    elif body.role is not Role.ITEM:
        succeed(draft, container, output)
    elif isinstance(work, CompiledMap):
        _try(draft, container, partial(maps.ended, draft, container, work, number, output))
    elif isinstance(work, CompiledLoop):
        _try(draft, container, partial(loops.ended, draft, container, work, number, output))


def _fail_scope(draft: Draft, path: str, compiled: CompiledStep, failure: Failure) -> None:
    """A step has failed for good and nobody caught it: so do the steps it is among."""
    prefix, body = compiled.prefix(path), compiled.body
    if body.role is Role.TOP:
        close(draft, ExecutionStatus.FAILED, step_failed(path, failure))
        return
    container, work = body.container(prefix), draft.workflow.steps[body.owner].work
    why = carried(path, failure)
    if body.role is Role.LEG:
        assert isinstance(work, CompiledSeveral)  # it has legs
        _try(draft, container, partial(several.failed, draft, container, work, why))
        return
    draft.cancel_inside(prefix)
    draft.ready = deque(each for each in draft.ready if not each.startswith(prefix))
    if body.role is Role.ITEM and isinstance(work, CompiledMap):
        number = body.number(prefix)
        _try(draft, container, partial(maps.failed, draft, container, work, number, why))
    else:
        fail(draft, container, draft.steps[container], why)


def _complete(draft: Draft) -> None:
    """End an execution whose steps have all ended."""
    workflow = draft.workflow
    try:
        output = workflow.output.render(draft.reading.scope("", workflow.body))
        check(output, "output")
    except (ExpressionFailed, PayloadRefused) as error:
        close(draft, ExecutionStatus.FAILED, Failure.of(error))
        return
    finish(draft, output)


def _stop_inside(draft: Draft, path: str, compiled: CompiledStep, step: StepState) -> None:
    """Cancel what runs inside a step that ends before it."""
    if compiled.bodies:
        draft.cancel_inside(f"{path}/")
        _clear(draft, path, compiled, step)


def _clear(draft: Draft, path: str, compiled: CompiledStep, step: StepState) -> None:
    """Forget what was needed while its parts ran; what runs inside was ended before."""
    work = compiled.work
    if step.caught is not None or not isinstance(
        work, CompiledSeveral | CompiledMap | CompiledLoop
    ):
        return
    for each in [each for each in draft.steps if each.startswith(f"{path}/")]:
        del draft.steps[each]
        draft.drop(each)
    if isinstance(work, CompiledSeveral):
        several.clear(draft, path)
    elif isinstance(work, CompiledMap):
        maps.clear(draft, path, step)
    else:
        loops.clear(draft, path)


def _live(draft: Draft) -> Mapping[str, Body]:
    """Return the scopes whose steps may begin, by their prefixes."""
    live: dict[str, Body] = {}
    for path, step in draft.steps.items():
        compiled = draft.workflow.at(path)
        prefix, body = compiled.prefix(path), compiled.body
        if step.status.under_way and step.caught is not None:
            live[f"{path}/{CATCH}/"] = compiled.catches[step.caught].body
        if prefix not in live and body.role in (Role.ITEM, Role.CASE):
            container = draft.step(body.container(prefix))
            if container.status.under_way and container.caught is None:
                live[prefix] = body
    return live

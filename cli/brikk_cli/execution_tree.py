"""An execution under way as a tree: what runs inside what, who works on it, and what that costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from brikk.workflow.v1.execution_pb2 import AttemptProgress, StepRun, WorkflowExecution
from brikk.workflow.v1.execution_service_pb2 import WatchExecutionResponse
from brikk_cli.execution_view import problem, state_line
from brikk_cli.render import between, money, plain, state
from brikk_shared.clock import Clock
from brikk_shared.structs import from_struct

_CROWD = 40
"""Beyond so many steps, those inside others are left out once they are done."""
_BAR = 24
_DONE = (StepRun.STATE_SUCCEEDED, StepRun.STATE_SKIPPED, StepRun.STATE_CANCELLED)


class ExecutionTree:
    """Draws itself as it stands by the last answer of a watch; what still runs grows older."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._execution = WorkflowExecution()
        self._tokens: Counter[str] = Counter()
        self._cost: Counter[str] = Counter()

    def take(self, answer: WatchExecutionResponse) -> None:
        """Goes on to the next answer, whose entries tell what its steps have used."""
        self._execution = answer.execution
        for entry in answer.entries:
            if not entry.step_id:
                continue
            facts = from_struct(entry.attributes)
            for used, fact in ((self._tokens, "tokens"), (self._cost, "cost_micros")):
                amount = facts.get(fact)
                if isinstance(amount, (int, float)):
                    used[entry.step_id] += int(amount)

    def __rich__(self) -> Tree:
        """Draws the steps by their paths: where none has a path of its own, a part of it stands."""
        now = Timestamp()
        now.FromDatetime(self._clock.now())
        execution = self._execution
        took = between(execution.create_time, _end(execution.end_time, now))
        root = Tree(_joined([state_line(execution), plain(took), *_used(execution)]))
        branches = {"": root}
        crowded = len(execution.steps) > _CROWD
        for step in execution.steps:
            path = step.path or step.step_id
            if crowded and "/" in path and step.state in _DONE:
                continue
            parent = _branch(branches, path.rpartition("/")[0])
            branches[path] = parent.add(self._row(step, path, now))
        return root

    def _row(self, step: StepRun, path: str, now: Timestamp) -> RenderableType:
        parts = [plain(path.rpartition("/")[2]), state(StepRun.State.Name(step.state))]
        parts += [plain(each) for each in (step.capability, step.agent) if each]
        if step.attempts > 1:
            parts.append(plain(f"attempt {step.attempts}"))
        if step.HasField("start_time"):
            parts.append(plain(between(step.start_time, _end(step.end_time, now))))
        parts += _costs(self._tokens[path], self._cost[path])
        if step.HasField("error"):
            parts.append(plain(problem(step.error)))
        if step.HasField("progress"):
            return _with_bar(_joined(parts), step)
        if step.HasField("attempt_progress"):
            return _with_word(_joined(parts), step.attempt_progress)
        return _joined(parts)


def _branch(branches: dict[str, Tree], path: str) -> Tree:
    """The branch of a path, with those above it; an item or an iteration has no step of its own."""
    if path not in branches:
        above, _, name = path.rpartition("/")
        branches[path] = _branch(branches, above).add(plain(name))
    return branches[path]


def _with_bar(row: Text, step: StepRun) -> Table:
    """A map with a bar; of a loop nobody knows how often it will turn."""
    progress = step.progress
    failed = f", {progress.failed} failed" if progress.failed else ""
    line = Table.grid(padding=(0, 2))
    if progress.total:
        bar = ProgressBar(total=progress.total, completed=progress.done, width=_BAR)
        line.add_row(row, bar, plain(f"{progress.done}/{progress.total}{failed}"))
    else:
        line.add_row(row, plain(f"{progress.done} done{failed}"))
    return line


def _with_word(row: Text, told: AttemptProgress) -> Table:
    """A call with a bar, by the word of the agent, and what it says that it is at."""
    line = Table.grid(padding=(0, 2))
    bar = ProgressBar(total=1.0, completed=told.fraction, width=_BAR)
    line.add_row(row, bar, plain(f"{told.fraction:.0%}"), plain(told.message))
    return line


def _used(execution: WorkflowExecution) -> Iterator[Text]:
    usage = execution.usage
    if usage.calls:
        yield plain(f"{usage.calls} calls")
    yield from _costs(usage.tokens, usage.cost_micros)


def _costs(tokens: int, cost_micros: int) -> Iterator[Text]:
    if tokens:
        yield plain(f"{tokens} tokens")
    if cost_micros:
        yield plain(f"cost {money(cost_micros)}")


def _joined(parts: list[Text]) -> Text:
    return Text("  ").join(part for part in parts if part)


def _end(end: Timestamp, now: Timestamp) -> Timestamp:
    return end if end.ByteSize() else now

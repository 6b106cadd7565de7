"""The demonstration while it runs: what it does now, and how far each step has come."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from brikk.workflow.v1.execution_pb2 import StepRun, WorkflowExecution
from brikk_cli.render import plain
from brikk_shared.clock import Clock

_ENDED = (
    StepRun.STATE_SUCCEEDED,
    StepRun.STATE_FAILED,
    StepRun.STATE_SKIPPED,
    StepRun.STATE_CANCELLED,
)


class DemoProgress:
    """Tells people, on a console of theirs, how the demonstration gets on."""

    def __init__(self, console: Console, clock: Clock) -> None:
        self._console = console
        self._clock = clock
        self._began = clock.monotonic()

    @property
    def seconds(self) -> float:
        """How long it has taken so far."""
        return self._clock.monotonic() - self._began

    def say(self, what: str) -> None:
        """What comes next."""
        self._console.print(plain(f"{self.seconds:5.1f} s  {what}"), soft_wrap=True)

    @contextmanager
    def bars(self, step_ids: Sequence[str], total: int) -> Iterator[Bars]:
        """A bar for the executions and one for each of their steps."""
        columns = (TextColumn("{task.description:>18}"), BarColumn(), MofNCompleteColumn())
        with Progress(*columns, console=self._console) as progress:
            yield Bars(progress, step_ids, total)


class Bars:
    """Bars of executions under way."""

    def __init__(self, progress: Progress, step_ids: Sequence[str], total: int) -> None:
        self._progress = progress
        self._executions = progress.add_task("executions", total=total)
        self._steps = {step: progress.add_task(step, total=total) for step in step_ids}

    def draw(self, executions: Collection[WorkflowExecution]) -> None:
        """Shows how far these have come."""
        running = WorkflowExecution.STATE_RUNNING
        ended = Counter(
            step.step_id for each in executions for step in each.steps if step.state in _ENDED
        )
        for step_id, bar in self._steps.items():
            self._progress.update(bar, completed=ended[step_id])
        done = sum(each.state != running for each in executions)
        self._progress.update(self._executions, completed=done)

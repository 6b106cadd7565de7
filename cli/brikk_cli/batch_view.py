"""How things asked of many executions look to people."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Group
from rich.table import Table

from brikk.workflow.v1 import batch_pb2
from brikk.workflow.v1 import execution_service_pb2 as pb
from brikk_cli.execution_view import problem
from brikk_cli.render import between, moment, plain, state, table


def starts_table(results: Iterable[pb.BatchStartResult]) -> Table:
    """A line per start of a batch, in their order."""
    rows = (
        (number, each.execution.name, problem(each.error) if each.HasField("error") else "")
        for number, each in enumerate(results, 1)
    )
    return table(("", "execution", "error"), rows)


def batches_table(batches: Iterable[batch_pb2.Batch]) -> Table:
    """A line per batch."""
    rows = (
        (
            each.name,
            _verb(each),
            state(batch_pb2.Batch.State.Name(each.state)),
            each.matched,
            each.done,
            each.failed,
            moment(each.create_time),
            between(each.create_time, each.end_time),
        )
        for each in batches
    )
    columns = ("batch", "verb", "state", "matched", "done", "failed", "started", "took")
    return table(columns, rows)


def batch_view(batch: batch_pb2.Batch) -> Group:
    """How far a batch has come, and who refused; of a dry run, what it would be asked of."""
    if not batch.name:
        return Group(plain(f"{_verb(batch)}: {batch.matched} match"))
    rows = ((each.execution, problem(each.error)) for each in batch.failures)
    parts: list[Table] = [batches_table([batch])]
    if batch.failures:
        parts.append(table(("refused", "error"), rows))
    return Group(*parts)


def _verb(batch: batch_pb2.Batch) -> str:
    return batch_pb2.Batch.Verb.Name(batch.verb).removeprefix("VERB_").lower()

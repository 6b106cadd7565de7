"""Following an execution to its end, in front of people."""

from __future__ import annotations

from contextlib import nullcontext

from rich.console import Console
from rich.live import Live

from brikk.workflow.v1 import execution_pb2, execution_service_pb2
from brikk_cli.client import Services
from brikk_cli.execution_tree import ExecutionTree
from brikk_cli.execution_view import history_line
from brikk_shared.clock import SystemClock

_FRAMES = 4
"""Drawings in a second: times go on between two answers."""


async def follow(
    services: Services, name: str, console: Console
) -> execution_pb2.WorkflowExecution:
    """Shows an execution until it ends and returns it as it stands then.

    A terminal sees the tree of its steps, live; anything else a line per fact.
    """
    tree = ExecutionTree(SystemClock())
    drawn = Live(tree, console=console, refresh_per_second=_FRAMES, transient=True)
    with drawn if console.is_terminal else nullcontext():
        async for answer in services.watch(name):
            if console.is_terminal:
                tree.take(answer)
            else:
                for entry in answer.entries:
                    console.print(history_line(entry), soft_wrap=True)
    return await services.call(
        services.executions.GetExecution, execution_service_pb2.GetExecutionRequest(name=name)
    )

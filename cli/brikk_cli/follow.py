"""Following an execution to its end, in front of people."""

from __future__ import annotations

from contextlib import nullcontext

from rich.console import Console
from rich.live import Live

from brikk.workflow.v1 import execution_pb2, execution_service_pb2
from brikk_cli.client import Services
from brikk_cli.execution_view import history_line, progress


async def follow(
    services: Services, name: str, console: Console
) -> execution_pb2.WorkflowExecution:
    """Shows an execution until it ends and returns it as it stands then.

    A terminal sees its state and the table of its steps redrawn; anything else a line per fact.
    """
    drawn = Live(console=console, auto_refresh=False, transient=True)
    with drawn if console.is_terminal else nullcontext():
        async for answer in services.watch(name):
            if console.is_terminal:
                drawn.update(progress(answer.execution), refresh=True)
            else:
                for entry in answer.entries:
                    console.print(history_line(entry), soft_wrap=True)
    return await services.call(
        services.executions.GetExecution, execution_service_pb2.GetExecutionRequest(name=name)
    )

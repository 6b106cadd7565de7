"""Asking something of executions, and seeing what comes of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from brikk.workflow.v1 import execution_pb2
from brikk.workflow.v1 import execution_service_pb2 as pb
from support.workflows import State, WorkflowClient

Execution = execution_pb2.WorkflowExecution


async def ask(client: WorkflowClient, verb: str, name: str, **more: object) -> Execution:
    """Calls the RPC of a verb."""
    request = getattr(pb, f"{verb}Request")(name=name, **more)
    call: Callable[..., Awaitable[Execution]] = getattr(client.executions, verb)
    return await call(request, metadata=client.metadata, timeout=20)


async def until(client: WorkflowClient, name: str, state: State.ValueType) -> Execution:
    """Follows an execution until it is in a state."""
    return await until_it(client, name, lambda execution: execution.state == state)


async def until_it(
    client: WorkflowClient, name: str, condition: Callable[[Execution], bool]
) -> Execution:
    """Follows an execution until it is as wanted."""
    stream = client.executions.WatchExecution(
        pb.WatchExecutionRequest(name=name), metadata=client.metadata, timeout=30
    )
    async for answer in stream:
        if condition(answer.execution):
            return answer.execution
    raise AssertionError(f"{name} never was as wanted")


async def kinds(client: WorkflowClient, name: str) -> Sequence[str]:
    """Gives the types of an execution's history, which has no gap."""
    history = await client.history(name)
    assert [entry.sequence for entry in history] == list(range(1, len(history) + 1))
    return [entry.type for entry in history]

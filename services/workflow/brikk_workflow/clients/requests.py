"""From a unit of work to the message that asks an agent for it."""

from __future__ import annotations

from brikk.agent.v1 import agent_runtime_service_pb2 as pb
from brikk_shared.structs import fill_struct
from brikk_workflow.clients.work import Work


def fill_request(request: pb.ExecuteRequest, work: Work) -> None:
    """Writes a unit of work into an empty message, where it lies: a copy costs as much as this.

    BrikkError when the input cannot be sent.
    """
    order = work.order
    fill_struct(request.input, order.input)
    request.capability = order.capability
    request.execution = work.execution
    request.step = order.step_id
    request.attempt = order.attempt
    request.idempotency_key = f"{work.execution}/{order.step_id}"
    request.attempt_token = order.token
    request.traceparent = work.traceparent

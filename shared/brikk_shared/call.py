"""The call under way: who calls, for which organisation, under which request id."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass

from brikk_shared.audit import AuditEntry
from brikk_shared.identity import Identity


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """An admitted call. Its context variable follows it into the tasks it starts."""

    method: str
    """Full name of the method, for instance `/brikk.workflow.v1.WorkflowService/GetWorkflow`."""
    identity: Identity
    request_id: str
    traceparent: str = ""
    """W3C trace context that came with the call; empty when there was none."""
    audit: AuditEntry | None = None
    """Open for mutating calls; the transaction that makes the change takes it."""


_current: ContextVar[Call | None] = ContextVar("brikk_call", default=None)


def current_call() -> Call:
    """The call under way. LookupError outside of one, for instance in a loop."""
    call = _current.get()
    if call is None:
        raise LookupError("no call is under way")
    return call


def call_under_way() -> Call | None:
    """The call under way, or None outside of one."""
    return _current.get()


def enter_call(call: Call | None) -> None:
    """Make it the call under way in this task. Each call has its own task: nothing is reset."""
    _current.set(call)


def organization() -> str:
    """The organisation that the call acts for; empty for a service's call that acts for none."""
    return current_call().identity.organization

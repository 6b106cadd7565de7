"""What an audit entry holds; `brikk_shared.audit_rows` writes it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(kw_only=True, slots=True)
class AuditEntry:
    """Who did what, when, from where, and how it ended.

    The interceptor opens it for each mutating call. The transaction that makes the change also
    writes the entry and sets `recorded`; an entry that no transaction took is written by itself
    when the call ends, with its outcome.
    """

    organization: str
    actor: str
    method: str
    """Full name of the method, for instance `/brikk.workflow.v1.WorkflowService/CreateWorkflow`."""
    request_id: str
    peer: str
    time: datetime
    request_digest: str
    """SHA-256, in hex, of the request without its secrets."""
    outcome: str = "OK"
    """Canonical gRPC code."""
    recorded: bool = False


class AuditSink(Protocol):
    """Where entries go that no transaction took."""

    async def record(self, entry: AuditEntry) -> None:
        """Write the entry durably."""

"""Audit entries: opened for each mutating call, written by its transaction or by themselves."""

from __future__ import annotations

import hashlib

import structlog
from google.protobuf.message import Message

from brikk_shared.audit import AuditEntry, AuditSink
from brikk_shared.clock import Clock
from brikk_shared.errors import BrikkError
from brikk_shared.identity import Identity
from brikk_shared.interceptors.context import Context
from brikk_shared.interceptors.method import Method
from brikk_shared.redact import redacted

_log = structlog.stdlib.get_logger(__name__)


class AuditTrail:
    """Opens and closes entries."""

    def __init__(self, clock: Clock, sink: AuditSink | None) -> None:
        """Only a server whose methods are all unaudited goes without a sink."""
        self._clock = clock
        self._sink = sink

    def open(
        self,
        method: Method,
        identity: Identity,
        request: Message | None,
        request_id: str,
        context: Context,
    ) -> AuditEntry | None:
        """The entry of a call, or None when the method is not audited."""
        if not method.audited or self._sink is None:
            return None
        content = (
            b"" if request is None else redacted(request).SerializeToString(deterministic=True)
        )
        return AuditEntry(
            organization=identity.organization,
            actor=identity.subject,
            method=method.path,
            request_id=request_id,
            peer=context.peer(),
            time=self._clock.now(),
            request_digest=hashlib.sha256(content).hexdigest(),
        )

    async def close(self, entry: AuditEntry | None) -> None:
        """Write the entry of a call that succeeded, unless its transaction did."""
        if entry is not None and self._sink is not None and not entry.recorded:
            await self._sink.record(entry)

    async def close_failed(self, entry: AuditEntry | None, outcome: str) -> None:
        """Write the entry of a call that failed. If that fails too, the call's error stands."""
        if entry is None or self._sink is None or entry.recorded:
            return
        entry.outcome = outcome
        try:
            await self._sink.record(entry)
        except BrikkError as error:
            _log.error("audit_entry_lost", method=entry.method, outcome=outcome, error=str(error))

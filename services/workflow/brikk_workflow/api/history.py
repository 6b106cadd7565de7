"""What happened to an execution: its history page by page, or all of it as a file."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing

from brikk.workflow.v1 import execution_service_pb2 as pb
from brikk_shared.pagination import cut, page_of
from brikk_workflow.api.execution_messages import to_history_entry
from brikk_workflow.api.parts import Context, Methods, id_of
from brikk_workflow.domain.decision import HistoryEntry
from brikk_workflow.domain.record import ExecutionRecord
from brikk_workflow.store import executions
from brikk_workflow.store.history import chunks, export

CHUNK = 64 * 1024
"""Bytes of a file that go into a message."""


class HistoryMethods(Methods):
    """Reads histories."""

    async def ListHistory(
        self, request: pb.ListHistoryRequest, context: Context
    ) -> pb.ListHistoryResponse:
        """Reads a page of history."""

        async def load() -> tuple[pb.ListHistoryResponse, bool]:
            record = await self._read(request.parent)
            return await self._page(request, record), record.state.status.terminal

        question = f"history/{request.page_size}/{request.page_token}"
        return await self._parts.finished.answer(id_of(request.parent), question, load)

    async def ExportHistory(
        self, request: pb.ExportHistoryRequest, context: Context
    ) -> AsyncIterator[pb.ExportHistoryResponse]:
        """Streams all of it."""
        record = await self._read(request.name)
        lines = export(self._parts.database, [record.execution_id])
        async with aclosing(chunks(lines, CHUNK)) as parts:
            async for part in parts:
                yield pb.ExportHistoryResponse(data=part)

    async def _page(
        self, request: pb.ListHistoryRequest, record: ExecutionRecord
    ) -> pb.ListHistoryResponse:
        page = page_of(request, default=200, cap=1000)
        # A forged cursor that is no number starts at the beginning.
        after = int(page.cursor) if page.cursor.isdecimal() and len(page.cursor) < 19 else 0
        entries = await self._history(record, after=after, limit=page.size + 1)
        shown, token = cut(request, page, entries, lambda entry: str(entry.sequence))
        return pb.ListHistoryResponse(
            entries=[to_history_entry(entry) for entry in shown],
            next_page_token=token,
        )

    async def _history(
        self, record: ExecutionRecord, *, after: int, limit: int
    ) -> Sequence[HistoryEntry]:
        if after >= record.state.sequence:
            return ()
        async with self._parts.database.reading() as connection:
            return await executions.list_history(
                connection, record.execution_id, after=after, limit=limit
            )

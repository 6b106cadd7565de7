"""Batches: something asked of many executions at once, as a resource that people follow."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from brikk.workflow.v1 import batch_pb2
from brikk.workflow.v1 import execution_service_pb2 as pb
from brikk_shared.call import organization
from brikk_shared.errors import Reason, invalid_field, not_found
from brikk_shared.ids import new_id
from brikk_shared.pagination import cut, page_of
from brikk_shared.status import make_error, to_status
from brikk_shared.times import to_timestamp
from brikk_workflow.api.parts import Context, Methods
from brikk_workflow.api.searching import to_search
from brikk_workflow.domain.batch import BatchStatus, BatchVerb
from brikk_workflow.store import batches
from brikk_workflow.store.batches import BatchRecord
from brikk_workflow.store.search import Search, count, missing

DEFAULT_WAIT = timedelta(seconds=30)
POLL = timedelta(milliseconds=250)
"""How often a batch is read that somebody waits for."""
_WITH_REASON = (BatchVerb.CANCEL, BatchVerb.TERMINATE, BatchVerb.PAUSE)

Verb = batch_pb2.Batch.Verb
State = batch_pb2.Batch.State


class BatchMethods(Methods):
    """Whoever asks is answered once the batch is recorded; a replica carries it out."""

    async def BatchExecutions(
        self, request: pb.BatchExecutionsRequest, context: Context
    ) -> batch_pb2.Batch:
        """Records it, or only counts what matches."""
        record = self._to_batch(request)
        async with self._parts.database.reading() as connection:
            absent = await missing(connection, organization(), record.search.execution_ids)
            if absent:
                raise not_found(f"executions/{min(absent)}")
            matched = await count(connection, organization(), record.search)
            record = replace(record, matched=matched)
        if request.validate_only:
            return _to_message(replace(record, batch_id=""))
        async with self._parts.database.transaction() as connection:
            record = await batches.create(connection, record, request_id=request.request_id)
        self._parts.batches.hasten()
        return _to_message(record)

    async def GetBatch(self, request: pb.GetBatchRequest, context: Context) -> batch_pb2.Batch:
        """Reads one."""
        return _to_message(await self._batch(request.name))

    async def ListBatches(
        self, request: pb.ListBatchesRequest, context: Context
    ) -> pb.ListBatchesResponse:
        """Reads a page."""
        page = page_of(request)
        async with self._parts.database.reading() as connection:
            records = await batches.list_batches(
                connection, organization(), before=page.cursor, limit=page.size + 1
            )
        shown, token = cut(request, page, records, lambda record: record.batch_id)
        return pb.ListBatchesResponse(
            batches=map(_to_message, shown),
            next_page_token=token,
        )

    async def WaitBatch(self, request: pb.WaitBatchRequest, context: Context) -> batch_pb2.Batch:
        """Reads one until it has ended."""
        clock = self._parts.clock
        timeout = request.timeout.ToTimedelta() if request.HasField("timeout") else DEFAULT_WAIT
        until = clock.now() + timeout
        while True:
            record = await self._batch(request.name)
            left = until - clock.now()
            if record.end_time is not None or left <= timedelta(0):
                return _to_message(record)
            await clock.sleep(min(left, POLL))

    async def CancelBatch(
        self, request: pb.CancelBatchRequest, context: Context
    ) -> batch_pb2.Batch:
        """Ends it, unless it has ended."""
        async with self._parts.database.transaction() as connection:
            record = await batches.get_batch(
                connection, organization(), _id_of(request.name), lock=True
            )
            if record is None:
                raise not_found(request.name)
            if record.end_time is None:
                now = self._parts.clock.now()
                record = replace(record, status=BatchStatus.CANCELLED, end_time=now)
                await batches.save(connection, record)
        return _to_message(record)

    async def _batch(self, name: str) -> BatchRecord:
        async with self._parts.database.reading() as connection:
            record = await batches.get_batch(connection, organization(), _id_of(name))
        if record is None:
            raise not_found(name)
        return record

    def _to_batch(self, request: pb.BatchExecutionsRequest) -> BatchRecord:
        """Returns what is asked: of those only on which the verb has an effect."""
        verb = BatchVerb[Verb.Name(request.verb).removeprefix("VERB_")]
        search = to_search(request.filter)
        if search == Search():
            raise invalid_field("filter", "must say of which executions")
        if request.reason and verb not in _WITH_REASON:
            raise invalid_field("reason", f"is not for {Verb.Name(request.verb)}")
        if request.workflow and verb is not BatchVerb.RETRY:
            raise invalid_field("workflow", "is for VERB_RETRY only")
        statuses = (search.statuses or verb.statuses) & verb.statuses
        if not statuses:
            raise invalid_field(
                "filter.states", f"hold none on which {Verb.Name(request.verb)} has an effect"
            )
        return BatchRecord(
            batch_id=new_id(),
            organization=organization(),
            verb=verb,
            search=replace(search, statuses=statuses),
            reason=request.reason,
            workflow=request.workflow,
            matched=0,
            create_time=self._parts.clock.now(),
        )


def _id_of(name: str) -> str:
    return name.removeprefix("batches/")


def _to_message(record: BatchRecord) -> batch_pb2.Batch:
    return batch_pb2.Batch(
        name=f"batches/{record.batch_id}" if record.batch_id else "",
        verb=Verb.Value(f"VERB_{record.verb.name}"),
        state=State.Value(f"STATE_{record.status.name}"),
        matched=record.matched,
        done=record.done,
        failed=record.failed,
        failures=[
            batch_pb2.BatchFailure(
                execution=f"executions/{each.execution_id}",
                error=to_status(
                    make_error(each.code, Reason(each.reason), each.message, metadata=each.metadata)
                ),
            )
            for each in record.failures
        ],
        reason=record.reason,
        create_time=to_timestamp(record.create_time),
        end_time=to_timestamp(record.end_time),
    )

"""EventService: batches of events in, each with its effect once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC
from typing import Any

import grpc
from prometheus_client import Counter

from brikk.event.v1.event_pb2 import Event
from brikk.event.v1.event_service_pb2 import PublishRefusal, PublishRequest, PublishResponse
from brikk.event.v1.event_service_pb2_grpc import EventServiceServicer
from brikk_shared import marks
from brikk_shared.database import Database
from brikk_shared.errors import BrikkError
from brikk_shared.event import check_event
from brikk_shared.status import to_status
from brikk_shared.structs import from_struct
from brikk_webhooks.domain.cloudevent import CloudEvent
from brikk_webhooks.store.intake import Intake


class EventServicer(EventServiceServicer):
    """Turns events into deliveries.

    Args:
        arrived: called when there are new deliveries.
        gaps: counts batches that do not follow on the one before.
        filter_failures: counts events on which a filter failed.
    """

    def __init__(
        self,
        database: Database,
        intake: Intake,
        *,
        arrived: Callable[[], None],
        gaps: Counter,
        filter_failures: Counter,
    ) -> None:
        self._database = database
        self._intake = intake
        self._arrived = arrived
        self._gaps = gaps
        self._filter_failures = filter_failures

    async def Publish(
        self, request: PublishRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> PublishResponse:
        """Take a batch; what was taken before has no effect, and refused items are set aside.

        A batch that many conditions are to be judged for is taken in part: the mark says so.
        """
        if not request.items:
            async with self._database.reading() as connection:
                return PublishResponse(mark=await marks.read(connection, request))
        refused: dict[int, BrikkError] = {}
        for item in request.items:
            if (error := check_event(item.event)) is not None:
                refused[item.position] = error
        async with self._database.transaction() as connection:
            fresh = await marks.take(connection, request, self._gaps)
            wanted = [item for item in fresh if item.position not in refused]
            taken = await self._intake.take(connection, [_event(item.event) for item in wanted])
            if taken.events < len(wanted):
                left = wanted[taken.events].position
                fresh = [item for item in fresh if item.position < left]
                await marks.stop_at(connection, request, left - 1)
            refusals = [
                (item, refused[item.position]) for item in fresh if item.position in refused
            ]
            await marks.set_aside(connection, request, refusals)
            mark = await marks.read(connection, request)
        self._filter_failures.inc(taken.filter_failures)
        if taken.deliveries:
            self._arrived()
        return PublishResponse(
            refusals=[
                PublishRefusal(position=position, status=to_status(error))
                for position, error in refused.items()
                if position <= mark
            ],
            mark=mark,
        )


def _event(event: Event) -> CloudEvent:
    return CloudEvent(
        id=event.id,
        source=event.source,
        type=event.type,
        subject=event.subject,
        time=event.time.ToDatetime(tzinfo=UTC),
        organization=event.organization,
        sequence=event.sequence,
        traceparent=event.traceparent,
        data=from_struct(event.data),
    )

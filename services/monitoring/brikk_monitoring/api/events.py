"""EventService: batches of events in."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import grpc

from brikk.event.v1.event_service_pb2 import (
    PublishItem,
    PublishRefusal,
    PublishRequest,
    PublishResponse,
)
from brikk.event.v1.event_service_pb2_grpc import EventServiceServicer
from brikk_monitoring.api.judging import judge
from brikk_monitoring.api.metrics import IngestionMetrics
from brikk_monitoring.domain.judgement import Outcome
from brikk_monitoring.store.intake import Intake
from brikk_monitoring.store.keys import Shard
from brikk_shared.clock import Clock
from brikk_shared.errors import invalid_field
from brikk_shared.status import to_status


class EventServicer(EventServiceServicer):
    """Counts what other services report."""

    def __init__(self, intake: Intake, metrics: IngestionMetrics, clock: Clock) -> None:
        self._intake = intake
        self._metrics = metrics
        self._clock = clock

    async def Publish(
        self, request: PublishRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> PublishResponse:
        """Take a batch; a repeated one has no effect."""
        _check_order(request.items)
        shard = Shard(
            producer=request.producer, generation=request.generation, number=request.shard
        )
        mark = await self._intake.mark(shard)
        items = [item for item in request.items if item.position > mark]
        self._metrics.ingested.labels(Outcome.REPEATED).inc(len(request.items) - len(items))
        if not items:
            return PublishResponse(mark=mark)
        if items[0].position > mark + 1:
            self._metrics.gaps.inc()

        now = self._clock.now()
        judgements = [judge(item, now) for item in items]
        begun = self._clock.monotonic()
        expired = await self._intake.apply(shard, judgements, now)
        mark = await self._intake.advance(shard, items[-1].position)
        self._metrics.apply_seconds.observe(self._clock.monotonic() - begun)
        self._metrics.count(judgements, expired)
        return PublishResponse(
            mark=mark,
            refusals=[
                PublishRefusal(
                    position=judgement.position, status=to_status(judgement.refusal.error)
                )
                for judgement in judgements
                if judgement.refusal is not None
            ],
        )


def _check_order(items: Sequence[PublishItem]) -> None:
    for index, (before, item) in enumerate(pairwise(items), start=1):
        if item.position <= before.position:
            raise invalid_field(
                f"items[{index}].position", "must be above the position of the item before"
            )

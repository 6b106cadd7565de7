"""WebhookService: what was sent, and how each attempt went."""

from __future__ import annotations

from datetime import UTC, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from brikk.webhooks.v1 import insight_pb2, webhook_pb2
from brikk.webhooks.v1 import webhook_service_pb2 as pb
from brikk_shared.call import organization
from brikk_shared.errors import invalid_field, not_found
from brikk_shared.pagination import cut, page_of
from brikk_webhooks.api.messages import (
    attempt_message,
    delivery_message,
    ids_of_delivery,
    state_asked,
    statistics_message,
    webhook_id_of,
)
from brikk_webhooks.api.parts import Context, Methods
from brikk_webhooks.store import deliveries, webhooks
from brikk_webhooks.store.statistics import read_statistics

_USUAL_WINDOW = timedelta(hours=24)
_LONGEST_WINDOW = timedelta(days=31)


class DeliveryMethods(Methods):
    """The part of the service that reads deliveries."""

    async def ListDeliveries(
        self, request: pb.ListDeliveriesRequest, context: Context
    ) -> pb.ListDeliveriesResponse:
        """List the deliveries of a webhook, newest first."""
        page = page_of(request)
        webhook_id = webhook_id_of(request.parent)
        async with self._parts.database.reading() as connection:
            if await webhooks.find_webhook(connection, organization(), webhook_id) is None:
                raise not_found(request.parent)
            found = await deliveries.list_deliveries(
                connection,
                organization(),
                webhook_id,
                state=state_asked(request.state),
                before=page.cursor,
                limit=page.size + 1,
            )
        shown, token = cut(request, page, found, lambda delivery: delivery.id)
        return pb.ListDeliveriesResponse(
            deliveries=[delivery_message(webhook_id, delivery) for delivery in shown],
            next_page_token=token,
        )

    async def GetDelivery(
        self, request: pb.GetDeliveryRequest, context: Context
    ) -> webhook_pb2.Delivery:
        """Return a delivery."""
        async with self._parts.database.reading() as connection:
            return await read_delivery(connection, request.name)

    async def ListAttempts(
        self, request: pb.ListAttemptsRequest, context: Context
    ) -> pb.ListAttemptsResponse:
        """List the attempts of a delivery, oldest first."""
        page = page_of(request)
        ids = ids_of_delivery(request.parent)
        async with self._parts.database.reading() as connection:
            if not await deliveries.delivery_exists(connection, organization(), *ids):
                raise not_found(request.parent)
            found = await deliveries.list_attempts(
                connection,
                organization(),
                *ids,
                after=int(page.cursor or 0),
                limit=page.size + 1,
            )
        shown, token = cut(request, page, found, lambda attempt: str(attempt.number))
        return pb.ListAttemptsResponse(
            attempts=[attempt_message(each) for each in shown], next_page_token=token
        )

    async def GetWebhookStats(
        self, request: pb.GetWebhookStatsRequest, context: Context
    ) -> insight_pb2.WebhookStats:
        """Count how the deliveries of a webhook went."""
        end = self._parts.clock.now()
        if request.HasField("end_time"):
            end = request.end_time.ToDatetime(tzinfo=UTC)
        start = end - _USUAL_WINDOW
        if request.HasField("start_time"):
            start = request.start_time.ToDatetime(tzinfo=UTC)
        if not timedelta() < end - start <= _LONGEST_WINDOW:
            raise invalid_field("start_time", "must lie before the end, and at most 31 days")
        async with self._parts.database.reading() as connection:
            uid = await webhooks.find_webhook(
                connection, organization(), webhook_id_of(request.name)
            )
            if uid is None:
                raise not_found(request.name)
            statistics = await read_statistics(connection, uid, start=start, end=end)
        return statistics_message(request.name, statistics, start=start, end=end)


async def read_delivery(connection: AsyncConnection, name: str) -> webhook_pb2.Delivery:
    """Return a delivery of the caller's organisation.

    Raises:
        NotFound: there is none of this name.
    """
    webhook_id, delivery_id = ids_of_delivery(name)
    delivery = await deliveries.get_delivery(connection, organization(), webhook_id, delivery_id)
    if delivery is None:
        raise not_found(name)
    return delivery_message(webhook_id, delivery)

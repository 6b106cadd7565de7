"""WebhookService: what people have sent, to see how it goes or because it did not get there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc

from brikk.webhooks.v1 import webhook_pb2
from brikk.webhooks.v1 import webhook_service_pb2 as pb
from brikk_shared.call import organization
from brikk_shared.clock import Clock
from brikk_shared.database import Database
from brikk_shared.errors import not_found, request_id_reused
from brikk_shared.ids import new_id
from brikk_webhooks.api.deliveries import DeliveryMethods, read_delivery
from brikk_webhooks.api.messages import ids_of_delivery, webhook_id_of
from brikk_webhooks.domain.cloudevent import TEST_TYPE, make_trial
from brikk_webhooks.store import webhooks
from brikk_webhooks.store.intake import Intake
from brikk_webhooks.store.resending import Resending, find_by_request


class SendingMethods(DeliveryMethods):
    """The part of the service that puts deliveries into the queue on request.

    Args:
        wake: called when deliveries may have come due.
    """

    def __init__(
        self, database: Database, intake: Intake, *, clock: Clock, wake: Callable[[], None]
    ) -> None:
        super().__init__(database, clock=clock)
        self._wake = wake
        self._intake = intake
        self._resending = Resending(database)

    async def SendTestEvent(
        self, request: pb.SendTestEventRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> webhook_pb2.Delivery:
        """Send an event that tells nothing."""
        webhook_id = webhook_id_of(request.name)
        async with self._database.transaction() as connection:
            locked = await webhooks.lock_webhook(connection, organization(), webhook_id)
            if locked is None:
                raise not_found(request.name)
            uid, webhook = locked
            webhook.check_enabled()
            delivery_id = await find_by_request(connection, uid, request.request_id)
            if delivery_id is None:
                event = make_trial(
                    webhook_id,
                    organization=organization(),
                    event_id=new_id(),
                    time=self._clock.now(),
                )
                mode = webhook.subscription.payload_mode
                delivery_id = await self._intake.send(connection, uid, event, mode=mode)
                await self._resending.note(connection, uid, delivery_id, request.request_id)
            delivery = await read_delivery(connection, f"{request.name}/deliveries/{delivery_id}")
            if delivery.event_type != TEST_TYPE:
                raise request_id_reused(request.request_id)
        self._wake()
        return delivery

    async def ResendDelivery(
        self, request: pb.ResendDeliveryRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> webhook_pb2.Delivery:
        """Send a delivery again, under its own id."""
        webhook_id, delivery_id = ids_of_delivery(request.name)
        async with self._database.transaction() as connection:
            locked = await webhooks.lock_webhook(connection, organization(), webhook_id)
            if locked is None:
                raise not_found(request.name)
            uid, webhook = locked
            webhook.check_enabled()
            await self._resending.resend(
                connection, uid, delivery_id, name=request.name, request_id=request.request_id
            )
            delivery = await read_delivery(connection, request.name)
        self._wake()
        return delivery

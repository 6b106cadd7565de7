"""WebhookService: what people have sent, to see how it goes or because it did not get there."""

from __future__ import annotations

from brikk.webhooks.v1 import webhook_pb2
from brikk.webhooks.v1 import webhook_service_pb2 as pb
from brikk_shared.call import organization
from brikk_shared.errors import request_id_reused
from brikk_shared.ids import new_id
from brikk_webhooks.api.deliveries import read_delivery
from brikk_webhooks.api.messages import ids_of_delivery, webhook_id_of
from brikk_webhooks.api.parts import Context, Methods
from brikk_webhooks.domain.cloudevent import TEST_TYPE, make_trial
from brikk_webhooks.store.resending import find_by_request


class SendingMethods(Methods):
    """The part of the service that puts deliveries into the queue on request."""

    async def SendTestEvent(
        self, request: pb.SendTestEventRequest, context: Context
    ) -> webhook_pb2.Delivery:
        """Send an event that tells nothing."""
        webhook_id = webhook_id_of(request.name)
        async with self._parts.database.transaction() as connection:
            uid, webhook = await self._lock(connection, webhook_id, name=request.name)
            webhook.check_enabled()
            delivery_id = await find_by_request(connection, uid, request.request_id)
            if delivery_id is None:
                event = make_trial(
                    webhook_id,
                    organization=organization(),
                    event_id=new_id(),
                    time=self._parts.clock.now(),
                )
                mode = webhook.subscription.payload_mode
                delivery_id = await self._parts.intake.send(connection, uid, event, mode=mode)
                await self._parts.resending.note(connection, uid, delivery_id, request.request_id)
            delivery = await read_delivery(connection, f"{request.name}/deliveries/{delivery_id}")
            if delivery.event_type != TEST_TYPE:
                raise request_id_reused(request.request_id)
        self._parts.wake()
        return delivery

    async def ResendDelivery(
        self, request: pb.ResendDeliveryRequest, context: Context
    ) -> webhook_pb2.Delivery:
        """Send a delivery again, under its own id."""
        webhook_id, delivery_id = ids_of_delivery(request.name)
        async with self._parts.database.transaction() as connection:
            uid, webhook = await self._lock(connection, webhook_id, name=request.name)
            webhook.check_enabled()
            await self._parts.resending.resend(
                connection, uid, delivery_id, name=request.name, request_id=request.request_id
            )
            delivery = await read_delivery(connection, request.name)
        self._parts.wake()
        return delivery

"""WebhookService: replays, which make many deliveries once more."""

from __future__ import annotations

from datetime import UTC

from brikk.webhooks.v1 import replay_pb2
from brikk.webhooks.v1 import webhook_service_pb2 as pb
from brikk_shared.call import organization
from brikk_shared.errors import invalid_field, not_found
from brikk_shared.ids import new_id
from brikk_webhooks.api.messages import request_digest, state_asked, state_message, webhook_id_of
from brikk_webhooks.api.parts import Context, Methods
from brikk_webhooks.domain.delivery import DeliveryState
from brikk_webhooks.domain.replay import Replay, ReplayState
from brikk_webhooks.store.replays import get_replay

_STATES = {
    ReplayState.RUNNING: replay_pb2.Replay.STATE_RUNNING,
    ReplayState.SUCCEEDED: replay_pb2.Replay.STATE_SUCCEEDED,
    ReplayState.CANCELLED: replay_pb2.Replay.STATE_CANCELLED,
}


class ReplayMethods(Methods):
    """The part of the service that begins replays; they are carried out in the background."""

    async def ReplayDeliveries(
        self, request: pb.ReplayDeliveriesRequest, context: Context
    ) -> replay_pb2.Replay:
        """Begin a replay, or give the one that the same request began."""
        webhook_id, asked = webhook_id_of(request.name), _asked(request)
        async with self._parts.database.transaction() as connection:
            uid, webhook = await self._lock(connection, webhook_id, name=request.name)
            webhook.check_enabled()
            replay = await self._parts.replays.begin(
                connection,
                uid,
                asked,
                name=request.name,
                request_id=request.request_id,
                digest=request_digest(request),
            )
        self._parts.begun()
        return _message(webhook_id, replay)

    async def GetReplay(self, request: pb.GetReplayRequest, context: Context) -> replay_pb2.Replay:
        """Return a replay."""
        webhook, _, replay_id = request.name.partition("/replays/")
        webhook_id = webhook_id_of(webhook)
        async with self._parts.database.reading() as connection:
            replay = await get_replay(connection, organization(), webhook_id, replay_id)
        if replay is None:
            raise not_found(request.name)
        return _message(webhook_id, replay)


def _asked(request: pb.ReplayDeliveriesRequest) -> Replay:
    states = [state_asked(state) for state in request.delivery_states] or [DeliveryState.FAILED]
    for index, state in enumerate(states):
        if state in (None, DeliveryState.PENDING):
            problem = "must be STATE_FAILED, STATE_CANCELLED or STATE_DELIVERED"
            raise invalid_field(f"delivery_states[{index}]", problem)
    start = request.start_time.ToDatetime(tzinfo=UTC) if request.HasField("start_time") else None
    end = request.end_time.ToDatetime(tzinfo=UTC) if request.HasField("end_time") else None
    if start is not None and end is not None and start >= end:
        raise invalid_field("end_time", "must be after start_time")
    return Replay(
        id=new_id(),
        delivery_states=tuple({state: None for state in states if state is not None}),
        event_types=tuple(request.event_types),
        start_time=start,
        end_time=end,
    )


def _message(webhook_id: str, replay: Replay) -> replay_pb2.Replay:
    message = replay_pb2.Replay(
        name=f"webhooks/{webhook_id}/replays/{replay.id}",
        delivery_states=map(state_message, replay.delivery_states),
        event_types=replay.event_types,
        state=_STATES[replay.state],
        replayed=replay.replayed,
        erased=replay.erased,
    )
    for field, time in (
        (message.start_time, replay.start_time),
        (message.end_time, replay.end_time),
        (message.create_time, replay.create_time),
        (message.complete_time, replay.complete_time),
    ):
        if time is not None:
            field.FromDatetime(time)
    return message

"""Deliveries that somebody has sent, for the first time or again."""

from __future__ import annotations

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from brikk_shared.database import Database
from brikk_shared.errors import FailedPrecondition, Reason, not_found, request_id_reused
from brikk_webhooks.store.endpoints import Endpoints
from brikk_webhooks.store.ordering import HELD
from brikk_webhooks.store.tables import DELIVERY, EVENT


class Resending:
    """Puts deliveries back into the queue; their webhook must be locked."""

    def __init__(self, database: Database) -> None:
        self._endpoints = Endpoints(database)
        # What is claimed is under way: its attempt is the one that was asked for.
        self._renew = text(
            "UPDATE delivery SET state = 1, attempts_before = attempts, claim = NULL,"
            f" due_at = CASE WHEN NOT {HELD} THEN {database.now_sql} END, end_time = NULL"
            " WHERE webhook_uid = :webhook_uid AND id = :id"
            f" AND (claim IS NULL OR due_at <= {database.now_sql})"
        )
        self._note = text(
            "UPDATE delivery SET request_id = :request_id"
            " WHERE webhook_uid = :webhook_uid AND id = :id"
        )

    async def resend(
        self,
        connection: AsyncConnection,
        webhook_uid: str,
        delivery_id: str,
        *,
        name: str,
        request_id: str,
    ) -> None:
        """Have a delivery attempted again, unless this request did so before.

        Raises:
            NotFound: the webhook has no such delivery; errors call it by `name`.
            FailedPrecondition: its body is erased.
            InvalidArgument: the request id was used for something else.
        """
        query = (
            select(EVENT.c.body.is_(None).label("erased"), DELIVERY.c.ordering_key)
            .join(DELIVERY, DELIVERY.c.event_uid == EVENT.c.uid)
            .where(DELIVERY.c.webhook_uid == webhook_uid, DELIVERY.c.id == delivery_id)
            .with_for_update(read=True)  # see `retention`
        )
        row = (await connection.execute(query)).one_or_none()
        if row is None:
            raise not_found(name)
        before = await find_by_request(connection, webhook_uid, request_id)
        if before is not None:
            if before != delivery_id:
                raise request_id_reused(request_id)
            return
        if row.erased:
            raise FailedPrecondition(
                Reason.PAYLOAD_ERASED,
                f"the body of {name} is no longer kept",
                metadata={"resource": name},
            )
        if row.ordering_key is not None:
            await self._endpoints.lock(connection, [webhook_uid])
        await connection.execute(self._renew, {"webhook_uid": webhook_uid, "id": delivery_id})
        await self.note(connection, webhook_uid, delivery_id, request_id)

    async def note(
        self, connection: AsyncConnection, webhook_uid: str, delivery_id: str, request_id: str
    ) -> None:
        """Remember which request had a delivery sent last, if it can come again."""
        if request_id:
            values = {"webhook_uid": webhook_uid, "id": delivery_id, "request_id": request_id}
            await connection.execute(self._note, values)


async def find_by_request(
    connection: AsyncConnection, webhook_uid: str, request_id: str
) -> str | None:
    """Tell which delivery a request had sent last; None for none, or without a request id."""
    if not request_id:
        return None
    query = select(DELIVERY.c.id).where(
        DELIVERY.c.webhook_uid == webhook_uid, DELIVERY.c.request_id == request_id
    )
    return (await connection.execute(query)).scalar_one_or_none()

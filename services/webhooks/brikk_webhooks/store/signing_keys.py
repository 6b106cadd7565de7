"""Signing keys of webhooks: sealed, replaced, erased when they expired."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from brikk_shared.crypto import sealed_under
from brikk_shared.database import Database
from brikk_shared.errors import request_id_reused
from brikk_shared.turns import take_turn
from brikk_webhooks.domain.webhook import SigningKey
from brikk_webhooks.store.tables import SIGNING_KEY

_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class NewKey:
    """A key to be kept."""

    key: SigningKey
    sealed: bytes


class SigningKeys:
    """Keeps the keys of webhooks. Time is the store's, so the clocks of replicas may differ."""

    def __init__(self, database: Database) -> None:
        now = database.now_sql
        self._retire = text(
            f"UPDATE signing_key SET expire_time = {now} + :overlap"
            " WHERE webhook_uid = :webhook_uid AND expire_time IS NULL"
        )
        expired = f"DELETE FROM signing_key WHERE expire_time <= {now}"
        self._erase = text(expired)
        self._erase_own = text(f"{expired} AND webhook_uid = :webhook_uid")

    async def replaced_before(
        self, connection: AsyncConnection, webhook_uid: str, *, request_id: str, digest: bytes
    ) -> bool:
        """Tell whether this very request replaced the keys of the webhook before.

        Raises:
            InvalidArgument: another request had the request id.
        """
        if not request_id:
            return False
        made = select(SIGNING_KEY.c.request_digest).where(
            SIGNING_KEY.c.webhook_uid == webhook_uid, SIGNING_KEY.c.request_id == request_id
        )
        before = (await connection.execute(made)).scalars().first()
        if before is not None and before != digest:
            raise request_id_reused(request_id)
        return before is not None

    async def replace(
        self,
        connection: AsyncConnection,
        webhook_uid: str,
        keys: Sequence[NewKey],
        *,
        overlap: timedelta,
        request_id: str,
        digest: bytes,
    ) -> None:
        """Keep new keys; those they replace sign for `overlap` yet. The webhook must be locked."""
        values = {"webhook_uid": webhook_uid, "overlap": overlap // _MICROSECOND}
        await connection.execute(self._retire, values)
        await connection.execute(self._erase_own, {"webhook_uid": webhook_uid})
        await add_keys(connection, webhook_uid, keys, request_id=request_id, digest=digest)

    async def erase_expired(self, connection: AsyncConnection) -> None:
        """Delete the keys that no longer sign."""
        # Replicas that deleted the same rows in another order would wait for each other.
        await take_turn(connection, "erasing signing keys")
        await connection.execute(self._erase)


async def add_keys(
    connection: AsyncConnection,
    webhook_uid: str,
    keys: Sequence[NewKey],
    *,
    request_id: str = "",
    digest: bytes = b"",
) -> None:
    """Keep keys, with the request that made them, if it can come again."""
    rows = [
        {
            "webhook_uid": webhook_uid,
            "version": each.key.version,
            "scheme": each.key.scheme,
            "public_key": each.key.public_key,
            "sealed": each.sealed,
            "sealed_under": sealed_under(each.sealed),
            "request_id": request_id or None,
            "request_digest": digest,
        }
        for each in keys
    ]
    await connection.execute(insert(SIGNING_KEY), rows)

"""Signing keys of webhooks: sealed, replaced, erased when they expired."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import func, insert, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from brikk_shared.batch import batch_params, batch_source
from brikk_shared.crypto import sealed_under
from brikk_shared.database import Database
from brikk_shared.errors import InvalidArgument, Reason
from brikk_shared.turns import take_turn
from brikk_webhooks.domain.dispatch import SealedKey, key_place
from brikk_webhooks.domain.signing import Scheme
from brikk_webhooks.domain.webhook import SigningKey
from brikk_webhooks.store.tables import SIGNING_KEY, WEBHOOK

_MICROSECOND = timedelta(microseconds=1)
_RENEWED = {"webhook_uid": "text", "version": "bigint", "sealed": "bytes", "sealed_under": "text"}


@dataclass(frozen=True, kw_only=True, slots=True)
class NewKey:
    """A key to be kept."""

    key: SigningKey
    sealed: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Resting:
    """A key where it lies."""

    webhook_uid: str
    version: int
    key: SealedKey


class SigningKeys:
    """Keeps the keys of webhooks. Time is the store's, so the clocks of replicas may differ."""

    def __init__(self, database: Database) -> None:
        self._dialect = database.dialect
        now = database.now_sql
        self._retire = text(
            f"UPDATE signing_key SET expire_time = {now} + :overlap"
            " WHERE webhook_uid = :webhook_uid AND expire_time IS NULL"
        )
        expired = f"DELETE FROM signing_key WHERE expire_time <= {now}"
        self._erase = text(expired)
        self._erase_own = text(f"{expired} AND webhook_uid = :webhook_uid")
        self._renew = text(
            "UPDATE signing_key SET sealed = b.sealed, sealed_under = b.sealed_under"
            f" FROM {batch_source(database.dialect, _RENEWED)}"
            " WHERE signing_key.webhook_uid = b.webhook_uid AND signing_key.version = b.version"
        )

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
            raise InvalidArgument(
                Reason.REQUEST_ID_REUSED,
                f"the request id {request_id} was used with another request",
                metadata={"request_id": request_id},
            )
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

    async def renew(self, connection: AsyncConnection, keys: Sequence[Resting]) -> None:
        """Keep keys as they have been sealed anew. They must be locked."""
        rows = [
            {
                "webhook_uid": each.webhook_uid,
                "version": each.version,
                "sealed": each.key.sealed,
                "sealed_under": sealed_under(each.key.sealed),
            }
            for each in keys
        ]
        await connection.execute(self._renew, batch_params(self._dialect, _RENEWED, rows))


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


async def count_by_ring_key(connection: AsyncConnection) -> dict[str, int]:
    """Tell how many keys lie sealed under each key of a ring."""
    column = SIGNING_KEY.c.sealed_under
    counts = await connection.execute(select(column, func.count()).group_by(column))
    return {row[0]: row[1] for row in counts}


async def lock_outdated(
    connection: AsyncConnection, primary: str, *, after: tuple[str, int], limit: int
) -> list[Resting]:
    """Lock keys that lie sealed under another key of the ring; others have theirs to themselves."""
    place = (SIGNING_KEY.c.webhook_uid, SIGNING_KEY.c.version)
    query = (
        select(SIGNING_KEY, WEBHOOK.c.organization, WEBHOOK.c.id)
        .join(WEBHOOK, WEBHOOK.c.uid == SIGNING_KEY.c.webhook_uid)
        .where(SIGNING_KEY.c.sealed_under != primary, tuple_(*place) > after)
        .order_by(*place)
        .limit(limit)
        .with_for_update(of=SIGNING_KEY, skip_locked=True)
    )
    return [
        Resting(
            webhook_uid=row.webhook_uid,
            version=row.version,
            key=SealedKey(
                scheme=Scheme(row.scheme),
                sealed=row.sealed,
                place=key_place(row.organization, row.id, row.version),
            ),
        )
        for row in await connection.execute(query)
    ]

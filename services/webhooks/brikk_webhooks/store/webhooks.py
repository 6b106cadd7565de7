"""Webhooks, always of one organisation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby
from typing import Any, cast

from sqlalchemy import Row, Select, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from brikk_shared.crypto import sealed_under
from brikk_shared.errors import AlreadyExists, Reason, ResourceExhausted, request_id_reused
from brikk_shared.turns import take_turn
from brikk_webhooks.domain.cloudevent import PayloadMode
from brikk_webhooks.domain.signing import Scheme
from brikk_webhooks.domain.webhook import SigningKey, Subscription, Webhook, WebhookState
from brikk_webhooks.store.signing_keys import NewKey, add_keys
from brikk_webhooks.store.tables import (
    DELETED_WEBHOOK,
    ENDPOINT,
    HEADERS,
    REPLAY,
    SIGNING_KEY,
    WEBHOOK,
)

_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Registration:
    """A webhook to be kept, with what nobody sees of it."""

    uid: str
    webhook: Webhook
    keys: Sequence[NewKey]
    headers: bytes | None = None
    """Sealed; None when there are none."""
    request_id: str
    """Empty when the caller gave none."""
    request_digest: bytes


async def create_webhook(
    connection: AsyncConnection, organization: str, registration: Registration, *, quota: int
) -> Webhook | None:
    """Keep a webhook. When the same request kept one before, change nothing and return that one.

    Raises:
        AlreadyExists: another webhook has the id.
        InvalidArgument: another request had the request id.
        ResourceExhausted: the organisation has as many webhooks as it may.
    """
    # For the quota, an organisation's creations take turns.
    await take_turn(connection, f"webhooks of {organization}")
    webhook = registration.webhook
    if registration.request_id:
        mine = (WEBHOOK.c.organization == organization) & (
            WEBHOOK.c.request_id == registration.request_id
        )
        before = (await connection.execute(select(WEBHOOK).where(mine))).one_or_none()
        if before is not None and before.request_digest == registration.request_digest:
            return await get_webhook(connection, organization, before.id)
        if before is not None:
            raise request_id_reused(registration.request_id)
    if await get_webhook(connection, organization, webhook.id) is not None:
        name = f"webhooks/{webhook.id}"
        raise AlreadyExists(
            Reason.RESOURCE_EXISTS, f"{name} exists already", metadata={"resource": name}
        )
    count = select(func.count()).where(WEBHOOK.c.organization == organization)
    if (await connection.execute(count)).scalar_one() >= quota:
        raise ResourceExhausted(
            Reason.QUOTA_EXCEEDED,
            f"the organisation has {quota} webhooks, which is as many as it may",
            metadata={"quota": "webhooks", "limit": str(quota)},
        )
    await connection.execute(
        insert(WEBHOOK).values(
            uid=registration.uid,
            organization=organization,
            id=webhook.id,
            request_id=registration.request_id or None,
            request_digest=registration.request_digest,
            create_time=webhook.create_time,
            announcements=0,
            **_changing(webhook),
        )
    )
    await add_keys(connection, registration.uid, registration.keys)
    if registration.headers is not None:
        await replace_headers(connection, registration.uid, webhook, registration.headers)
    return None


async def lock_webhook(
    connection: AsyncConnection, organization: str, webhook_id: str
) -> tuple[str, Webhook] | None:
    """Return a webhook with the uid of this life of it, and keep others from changing it."""
    lock = (
        select(WEBHOOK.c.uid)
        .where(WEBHOOK.c.organization == organization, WEBHOOK.c.id == webhook_id)
        .with_for_update(key_share=True)  # deliveries may be added to it meanwhile
    )
    uid = (await connection.execute(lock)).scalar_one_or_none()
    if uid is None:
        return None
    webhook = await get_webhook(connection, organization, webhook_id)
    return None if webhook is None else (uid, webhook)


async def find_webhook(
    connection: AsyncConnection, organization: str, webhook_id: str
) -> str | None:
    """Return the uid of the life that a webhook has now."""
    query = select(WEBHOOK.c.uid).where(
        WEBHOOK.c.organization == organization, WEBHOOK.c.id == webhook_id
    )
    return (await connection.execute(query)).scalar_one_or_none()


async def get_webhook(
    connection: AsyncConnection, organization: str, webhook_id: str
) -> Webhook | None:
    """Return a webhook."""
    query = select(WEBHOOK).where(
        WEBHOOK.c.organization == organization, WEBHOOK.c.id == webhook_id
    )
    return next(iter(await _read(connection, query)), None)


async def list_webhooks(
    connection: AsyncConnection, organization: str, *, after: str, limit: int
) -> list[Webhook]:
    """Return webhooks by id, those after `after`."""
    query = (
        select(WEBHOOK)
        .where(WEBHOOK.c.organization == organization, WEBHOOK.c.id > after)
        .order_by(WEBHOOK.c.id)
        .limit(limit)
    )
    return await _read(connection, query)


async def change_webhook(connection: AsyncConnection, uid: str, webhook: Webhook) -> None:
    """Write what people changed of a webhook that was read under lock."""
    await connection.execute(update(WEBHOOK).where(WEBHOOK.c.uid == uid).values(_changing(webhook)))


async def replace_headers(
    connection: AsyncConnection, uid: str, webhook: Webhook, sealed: bytes | None
) -> None:
    """Keep the sealed headers of a webhook in place of others; None for none."""
    await connection.execute(delete(HEADERS).where(HEADERS.c.webhook_uid == uid))
    if sealed is not None:
        await connection.execute(
            insert(HEADERS).values(
                webhook_uid=uid,
                version=webhook.subscription.headers_version,
                sealed=sealed,
                sealed_under=sealed_under(sealed),
            )
        )


async def delete_webhook(connection: AsyncConnection, organization: str, webhook_id: str) -> bool:
    """Delete a webhook; tell whether there was one. `Retention` removes its deliveries."""
    gone = (
        delete(WEBHOOK)
        .where(WEBHOOK.c.organization == organization, WEBHOOK.c.id == webhook_id)
        .returning(WEBHOOK.c.uid)
    )
    # First, because it waits for those who are adding deliveries to it, and stops others from it.
    uid = (await connection.execute(gone)).scalar_one_or_none()
    if uid is None:
        return False
    await connection.execute(delete(HEADERS).where(HEADERS.c.webhook_uid == uid))
    await connection.execute(delete(SIGNING_KEY).where(SIGNING_KEY.c.webhook_uid == uid))
    await connection.execute(delete(ENDPOINT).where(ENDPOINT.c.webhook_uid == uid))
    await connection.execute(delete(REPLAY).where(REPLAY.c.webhook_uid == uid))
    await connection.execute(insert(DELETED_WEBHOOK).values(uid=uid))
    return True


async def _read(connection: AsyncConnection, query: Select[Any]) -> list[Webhook]:
    """Read webhooks with their keys, by id."""
    found = query.subquery()
    key = SIGNING_KEY.c
    rows = await connection.execute(
        select(found, key.version, key.scheme, key.public_key, key.expire_time)
        .join(SIGNING_KEY, key.webhook_uid == found.c.uid)
        .order_by(found.c.id, key.version.desc())
    )
    return [_webhook(list(each)) for _, each in groupby(rows, lambda row: row.uid)]


def _webhook(rows: Sequence[Row[Any]]) -> Webhook:
    row = rows[0]
    return Webhook(
        id=row.id,
        subscription=_subscription(row),
        state=WebhookState(row.state),
        state_reason=row.state_reason,
        revision=row.revision,
        filter_failures=row.filter_failures,
        create_time=row.create_time,
        update_time=row.update_time,
        signing_keys=tuple(
            SigningKey(
                version=key.version,
                scheme=Scheme(key.scheme),
                public_key=key.public_key,
                expire_time=key.expire_time,
            )
            for key in rows
        ),
    )


def _subscription(row: Row[Any]) -> Subscription:
    retention = row.payload_retention
    return Subscription(
        url=row.url,
        event_types=tuple(cast("list[str]", row.event_types)),
        filter=row.filter,
        channels=tuple(cast("list[str]", row.channels)),
        payload_mode=PayloadMode(row.payload_mode),
        description=row.description,
        retry_schedule=tuple(wait * _MICROSECOND for wait in cast("list[int]", row.retry_schedule)),
        max_rate=row.max_rate,
        max_in_flight=row.max_in_flight,
        ordering_key=row.ordering_key,
        payload_retention=None if retention is None else retention * _MICROSECOND,
        header_names=tuple(cast("list[str]", row.header_names)),
        headers_version=row.headers_version,
        handshake=row.handshake,
    )


def _changing(webhook: Webhook) -> dict[str, object]:
    subscription = webhook.subscription
    retention = subscription.payload_retention
    return {
        "url": subscription.url,
        "event_types": subscription.event_types,
        "filter": subscription.filter,
        "channels": subscription.channels,
        "payload_mode": subscription.payload_mode,
        "description": subscription.description,
        "retry_schedule": [wait // _MICROSECOND for wait in subscription.retry_schedule],
        "max_rate": subscription.max_rate,
        "max_in_flight": subscription.max_in_flight,
        "ordering_key": subscription.ordering_key,
        "payload_retention": None if retention is None else retention // _MICROSECOND,
        "header_names": subscription.header_names,
        "headers_version": subscription.headers_version,
        "handshake": subscription.handshake,
        "state": webhook.state,
        "state_reason": webhook.state_reason,
        "revision": webhook.revision,
        "filter_failures": webhook.filter_failures,
        "update_time": webhook.update_time,
    }

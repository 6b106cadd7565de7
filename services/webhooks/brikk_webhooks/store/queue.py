"""The queue that the deliveries table is: who waits, and claims on what is due.

It serves the dispatcher, which works for all organisations alike; nothing here answers a caller.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Row, text

from brikk_shared.batch import batch_params, batch_source
from brikk_shared.database import Database
from brikk_shared.types import from_microseconds
from brikk_webhooks.domain.bounds import Bounds
from brikk_webhooks.domain.dispatch import (
    Claim,
    SealedHeaders,
    SealedKey,
    Target,
    headers_place,
    key_place,
)
from brikk_webhooks.domain.signing import Scheme
from brikk_webhooks.store.lanes import SHARE, Lane, find_waiting, take_due
from brikk_webhooks.store.room import Room, cut

_MICROSECOND = timedelta(microseconds=1)

_UID = {"webhook_uid": "text"}
_CONTENT = {"webhook_uid": "text", "event_uid": "text"}
_CLAIM = {"webhook_uid": "text", "id": "text", "claim": "text"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Waiting:
    """An endpoint that has deliveries waiting."""

    webhook_uid: str
    due_in: timedelta
    """Until its oldest may be attempted."""
    room: int | None
    """How many may be under way, as far as is known before a claim; None for any number."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Catch:
    """What a look at a lane found."""

    waiting: Sequence[Waiting]
    claims: Sequence[Claim]


@dataclass(frozen=True, kw_only=True, slots=True)
class Depth:
    """How much waits."""

    pending: int
    overdue: timedelta
    """For how long the oldest delivery that is due has been due; 0 when none is."""


class Queue:
    """Claims deliveries. Time is the store's, so the clocks of replicas may differ."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._dialect = dialect = database.dialect
        self._room = Room(database, [lane.value for lane in Lane])
        now = database.now_sql
        self._waiting = {lane: text(find_waiting(lane, database)) for lane in Lane}
        self._claim = {lane: text(take_due(lane, database)) for lane in Lane}
        self._contents = text(
            "SELECT b.webhook_uid, b.event_uid, e.body, w.url, w.retry_schedule, w.organization,"
            f" w.id, h.version, h.sealed FROM {batch_source(dialect, _CONTENT)}"
            " JOIN event e ON e.uid = b.event_uid JOIN webhook w ON w.uid = b.webhook_uid"
            " LEFT JOIN webhook_headers h ON h.webhook_uid = b.webhook_uid"
        )
        self._keys = text(
            "SELECT k.webhook_uid, k.version, k.scheme, k.sealed, w.organization, w.id"
            f" FROM {batch_source(dialect, _UID)} JOIN webhook w ON w.uid = b.webhook_uid"
            " JOIN signing_key k ON k.webhook_uid = b.webhook_uid"
            f" WHERE k.expire_time IS NULL OR k.expire_time > {now} ORDER BY k.version DESC"
        )
        self._release = text(
            f"UPDATE delivery SET claim = NULL, due_at = {now} FROM {batch_source(dialect, _CLAIM)}"
            " WHERE delivery.webhook_uid = b.webhook_uid AND delivery.id = b.id"
            " AND delivery.claim = b.claim"
        )
        self._recover = [
            text(
                f"UPDATE delivery SET claim = NULL, due_at = {now}"
                f" WHERE {lane.value} AND claim IS NOT NULL"
            )
            for lane in Lane
        ]
        lanes = " UNION ALL ".join(
            f"SELECT count(*) AS pending, min(due_at) AS due_at FROM delivery WHERE {lane.value}"
            for lane in Lane
        )
        self._depth = text(f"SELECT sum(pending), {now} - min(due_at) FROM ({lanes}) AS lanes")

    async def recover(self) -> None:
        """Give back what a process that died had claimed, where no other process can hold claims.

        That is SQLite, whose file serves one process. On PostgreSQL the leases run out.
        """
        if self._dialect == "sqlite":
            async with self._database.transaction() as connection:
                for statement in self._recover:
                    await connection.execute(statement)

    async def claim(
        self,
        lane: Lane,
        choose: Callable[[Sequence[Waiting]], Mapping[str, int]],
        *,
        claim: str,
        lease: timedelta,
    ) -> Catch:
        """Claim what is due: of each endpoint as many as `choose` says, fewer if others got them.

        Args:
            lane: whose deliveries.
            choose: gets those that wait, the longest due first, and gives a share to each it wants.
            claim: names the claim; never used before.
            lease: until when nobody else may have what is claimed.
        """
        async with self._database.transaction() as connection:
            found = {row.uid: row for row in await connection.execute(self._waiting[lane])}
            bounds = {uid: _bounds(row) for uid, row in found.items()}
            waiting = [_waiting_of(row, bounds[uid]) for uid, row in found.items()]
            shares = choose(waiting)
            bounded = {uid: found[uid] for uid in shares if uid in bounds and bounds[uid].any}
            if bounded:
                room = await self._room.look(connection, bounded)
                shares = cut(shares, room)
            if not shares:
                return Catch(waiting=waiting, claims=[])
            rows = [{"webhook_uid": uid, "most": most} for uid, most in shares.items()]
            params = batch_params(self._dialect, SHARE, rows)
            params |= {"claim": claim, "lease": lease // _MICROSECOND}
            claimed = (await connection.execute(self._claim[lane], params)).all()
            probed: Collection[str] = ()
            if bounded:
                taken = Counter(row.webhook_uid for row in claimed)
                probed = await self._room.take(connection, taken, room, lease=lease)
            rows = [{"webhook_uid": row.webhook_uid, "event_uid": row.event_uid} for row in claimed]
            params = batch_params(self._dialect, _CONTENT, rows)
            contents = (await connection.execute(self._contents, params)).all()
            rows = [{"webhook_uid": uid} for uid in {row.webhook_uid for row in claimed}]
            params = batch_params(self._dialect, _UID, rows)
            keys = _by_webhook(await connection.execute(self._keys, params))
        bodies: dict[str, bytes] = {}
        targets: dict[str, Target] = {}
        for row in contents:
            uid = row.webhook_uid
            bodies[row.event_uid] = row.body
            if uid not in targets:
                targets[uid] = _target(
                    row,
                    keys[uid],
                    bounded=uid in bounded,
                    failing=uid in found and bool(found[uid].failures),
                )
        claims = [
            Claim(
                webhook_uid=row.webhook_uid,
                delivery_id=row.id,
                claim=claim,
                attempt=row.attempts + 1,
                attempts_before=row.attempts_before,
                create_time=from_microseconds(row.create_time),
                ordering_key=row.ordering_key,
                probe=row.webhook_uid in probed,
                body=bodies[row.event_uid],
                target=targets[row.webhook_uid],
            )
            for row in claimed
            if row.webhook_uid in targets  # else it was deleted meanwhile
        ]
        return Catch(waiting=waiting, claims=claims)

    async def release(self, claims: Collection[Claim]) -> None:
        """Give back claims whose attempts came to nothing, so that nobody waits for the leases."""
        rows = [
            {"webhook_uid": claim.webhook_uid, "id": claim.delivery_id, "claim": claim.claim}
            for claim in claims
        ]
        async with self._database.transaction() as connection:
            await connection.execute(self._release, batch_params(self._dialect, _CLAIM, rows))

    async def depth(self) -> Depth:
        """Measure the queue."""
        async with self._database.reading() as connection:
            pending, overdue = (await connection.execute(self._depth)).one()
        return Depth(pending=int(pending), overdue=max(timedelta(), (overdue or 0) * _MICROSECOND))


def _bounds(row: Row[Any]) -> Bounds:
    # A webhook that was changed since is tried anew.
    paused = row.paused_until is not None and row.failed_at >= row.update_time
    return Bounds(
        max_rate=row.max_rate,
        max_in_flight=row.max_in_flight,
        paced_until=None if row.paced_until is None else from_microseconds(row.paced_until),
        paused_until=from_microseconds(row.paused_until) if paused else None,
    )


def _waiting_of(row: Row[Any], bounds: Bounds) -> Waiting:
    now = from_microseconds(row.now)
    return Waiting(
        webhook_uid=row.uid,
        due_in=bounds.opens_at(from_microseconds(row.due_at)) - now,
        room=bounds.room(now),
    )


def _by_webhook(rows: Iterable[Row[Any]]) -> Mapping[str, Sequence[SealedKey]]:
    keys: defaultdict[str, list[SealedKey]] = defaultdict(list)
    for row in rows:
        place = key_place(row.organization, row.id, row.version)
        keys[row.webhook_uid].append(
            SealedKey(scheme=Scheme(row.scheme), sealed=row.sealed, place=place)
        )
    return keys


def _target(row: Row[Any], keys: Sequence[SealedKey], *, bounded: bool, failing: bool) -> Target:
    return Target(
        organization=row.organization,
        webhook_id=row.id,
        url=row.url,
        keys=tuple(keys),
        headers=None
        if row.sealed is None
        else SealedHeaders(
            sealed=row.sealed, place=headers_place(row.organization, row.id, row.version)
        ),
        retry_schedule=tuple(wait * _MICROSECOND for wait in json.loads(row.retry_schedule)),
        bounded=bounded,
        failing=failing,
    )

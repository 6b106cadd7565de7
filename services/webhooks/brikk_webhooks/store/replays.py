"""Replays at rest, and each batch of theirs: deliveries made, and how far it has come, at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from sqlalchemy import ColumnElement, Row, delete, insert, literal_column, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from brikk_shared.database import Database
from brikk_shared.errors import FailedPrecondition, Reason, request_id_reused
from brikk_shared.types import UtcDateTime
from brikk_webhooks.domain.delivery import DeliveryState
from brikk_webhooks.domain.replay import Replay, ReplayState
from brikk_webhooks.domain.webhook import WebhookState
from brikk_webhooks.store.deliveries import in_window
from brikk_webhooks.store.intake import Intake, delivery_row
from brikk_webhooks.store.lanes import Lane
from brikk_webhooks.store.tables import DELIVERY, EVENT, REPLAY, WEBHOOK

BATCH = 500
_KEPT = 100
_RUNNING = REPLAY.c.state == literal_column(f"{ReplayState.RUNNING:d}")


class Replays:
    """Begins replays and carries them on. Time is the store's, as that of deliveries."""

    def __init__(self, database: Database, intake: Intake) -> None:
        self._database = database
        self._intake = intake
        self._now = text(database.now_sql)
        self._read_now = text(f"SELECT {database.now_sql} AS now").columns(now=UtcDateTime)

    async def begin(
        self,
        connection: AsyncConnection,
        webhook_uid: str,
        replay: Replay,
        *,
        name: str,
        request_id: str,
        digest: bytes,
    ) -> Replay:
        """Keep a replay, or give the one that the same request began. The webhook must be locked.

        Errors call the webhook by `name`.

        Raises:
            FailedPrecondition: another one is running.
            InvalidArgument: another request had the request id.
        """
        own = select(REPLAY).where(REPLAY.c.webhook_uid == webhook_uid)
        if request_id:
            query = own.where(REPLAY.c.request_id == request_id)
            before = (await connection.execute(query)).one_or_none()
            if before is not None and before.request_digest != digest:
                raise request_id_reused(request_id)
            if before is not None:
                return _replay(before)
        other = (await connection.execute(own.where(_RUNNING))).one_or_none()
        if other is not None:
            raise FailedPrecondition(
                Reason.WRONG_STATE,
                f"{name}/replays/{other.id} is running: wait until it is done",
                metadata={
                    "resource": f"{name}/replays/{other.id}",
                    "state": ReplayState.RUNNING.name,
                },
            )
        now = (await connection.execute(self._read_now)).scalar_one()
        old = own.with_only_columns(REPLAY.c.id).order_by(REPLAY.c.id.desc()).offset(_KEPT - 1)
        oldest = (await connection.execute(old.limit(1))).scalar_one_or_none()
        if oldest is not None:
            await connection.execute(
                delete(REPLAY).where(REPLAY.c.webhook_uid == webhook_uid, REPLAY.c.id <= oldest)
            )
        row = await connection.execute(
            insert(REPLAY)
            .values(
                webhook_uid=webhook_uid,
                id=replay.id,
                delivery_states=replay.delivery_states,
                event_types=replay.event_types,
                start_time=replay.start_time,
                # What it makes itself is later.
                end_time=min(replay.end_time or now, now),
                state=replay.state,
                after_id="",
                replayed=0,
                erased=0,
                request_id=request_id or None,
                request_digest=digest,
                create_time=now,
            )
            .returning(REPLAY)
        )
        return _replay(row.one())

    async def running(self, *, limit: int) -> list[tuple[str, str]]:
        """Return the replays that have not ended, each as webhook uid and id."""
        query = select(REPLAY.c.webhook_uid, REPLAY.c.id).where(_RUNNING).limit(limit)
        async with self._database.reading() as connection:
            return [(row.webhook_uid, row.id) for row in await connection.execute(query)]

    async def carry_on(self, webhook_uid: str, replay_id: str) -> int:
        """Make the next deliveries, unless enough wait or another replica does; return how many."""
        this = (REPLAY.c.webhook_uid == webhook_uid) & (REPLAY.c.id == replay_id)
        lock = (
            select(REPLAY, WEBHOOK.c.state.label("webhook_state"))
            .join(WEBHOOK, WEBHOOK.c.uid == REPLAY.c.webhook_uid)
            .where(this, _RUNNING)
            .with_for_update(of=REPLAY, skip_locked=True)
        )
        cancelled = {"state": ReplayState.CANCELLED, "complete_time": self._now}
        async with self._database.transaction(audit=()) as connection:
            row = (await connection.execute(lock)).one_or_none()
            if row is None:
                return 0
            if row.webhook_state == WebhookState.DISABLED:
                await connection.execute(update(REPLAY).where(this).values(cancelled))
                return 0
            if await _enough_wait(connection, webhook_uid):
                return 0
            replay = _replay(row)
            found = await _next(connection, webhook_uid, replay, after=row.after_id)
            wanted = [each for each in found if replay.wants(each.type)]
            made = [
                delivery_row(webhook_uid, each.event_uid, each.ordering_key)
                for each in wanted
                if not each.erased
            ]
            if made:
                await self._intake.enqueue(connection, made)
            moved: dict[str, object] = {
                "replayed": replay.replayed + len(made),
                "erased": replay.erased + len(wanted) - len(made),
            }
            if len(found) == BATCH:
                moved["after_id"] = found[-1].id
            else:
                moved |= {"state": ReplayState.SUCCEEDED, "complete_time": self._now}
            await connection.execute(update(REPLAY).where(this).values(moved))
        return len(made)


async def get_replay(
    connection: AsyncConnection, organization: str, webhook_id: str, replay_id: str
) -> Replay | None:
    """Return a replay."""
    query = (
        select(REPLAY)
        .join(WEBHOOK, WEBHOOK.c.uid == REPLAY.c.webhook_uid)
        .where(
            WEBHOOK.c.organization == organization,
            WEBHOOK.c.id == webhook_id,
            REPLAY.c.id == replay_id,
        )
    )
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else _replay(row)


async def _enough_wait(connection: AsyncConnection, webhook_uid: str) -> bool:
    query = (
        select(DELIVERY.c.id)
        .where(DELIVERY.c.webhook_uid == webhook_uid, text(Lane.FIRST.value))
        .limit(BATCH)
    )
    return len((await connection.execute(query)).all()) == BATCH


async def _next(
    connection: AsyncConnection, webhook_uid: str, replay: Replay, *, after: str
) -> Sequence[Row[Any]]:
    """Return the next deliveries of the states and the window, the oldest first."""
    # Written out: an index with a condition does not serve a parameter.
    states: list[ColumnElement[int]] = [
        literal_column(f"{state:d}") for state in replay.delivery_states
    ]
    query = (
        select(
            DELIVERY.c.id,
            DELIVERY.c.event_uid,
            DELIVERY.c.ordering_key,
            EVENT.c.type,
            EVENT.c.body.is_(None).label("erased"),
        )
        .join(EVENT, EVENT.c.uid == DELIVERY.c.event_uid)
        .where(
            DELIVERY.c.webhook_uid == webhook_uid,
            DELIVERY.c.state.in_(states),
            in_window(replay.start_time, replay.end_time),
            DELIVERY.c.id > after,
        )
        .order_by(DELIVERY.c.id)
        .limit(BATCH)
        .with_for_update(read=True, of=EVENT)  # see `retention`
    )
    return (await connection.execute(query)).all()


def _replay(row: Row[Any]) -> Replay:
    return Replay(
        id=row.id,
        delivery_states=tuple(map(DeliveryState, cast("list[int]", row.delivery_states))),
        event_types=tuple(cast("list[str]", row.event_types)),
        start_time=row.start_time,
        end_time=row.end_time,
        state=ReplayState(row.state),
        replayed=row.replayed,
        erased=row.erased,
        create_time=row.create_time,
        complete_time=row.complete_time,
    )

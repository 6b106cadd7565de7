"""Settings as every kind of them is kept: created, read, listed, changed and deleted."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Generic, TypeVar

from google.protobuf.message import Message
from sqlalchemy.ext.asyncio import AsyncConnection

from brikk_monitoring.api.access import readable_organization
from brikk_monitoring.api.merging import check_etag, merge
from brikk_monitoring.domain.setting import Setting
from brikk_monitoring.store import settings
from brikk_monitoring.store.settings import Kind
from brikk_shared.clock import Clock
from brikk_shared.database import Database
from brikk_shared.errors import not_found
from brikk_shared.ids import new_id
from brikk_shared.pagination import cut, page_of
from brikk_shared.validator import validate

T = TypeVar("T")
M = TypeVar("M", bound=Message)

_OUTPUT: Final = frozenset(
    {"name", "creator", "state", "active", "create_time", "update_time", "etag"}
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Form(Generic[T, M]):
    """A kind of setting as the contract has it.

    Args:
        field: what requests call it, for instance `silence`.
        read: reads what is said of it, which takes the place of the content before, if any.
        new: makes the request that creates it, by which the whole of an update is judged.
    """

    kind: Kind[T]
    field: str
    write: Callable[[Setting[T], datetime], M]
    read: Callable[[M, T | None, datetime], T]
    new: Callable[[M], Message]


class Keeper(Generic[T, M]):
    """Keeps the settings of one kind.

    The requests are those that all kinds have alike.
    """

    def __init__(self, form: Form[T, M], database: Database, clock: Clock) -> None:
        self._form = form
        self._database = database
        self._clock = clock

    async def create(self, request: Any) -> M:
        """Create one, or give the one that the same request created before."""
        form, now = self._form, self._clock.now()
        setting = Setting(
            organization=readable_organization(),
            id=getattr(request, f"{form.field}_id") or new_id(),
            content=form.read(getattr(request, form.field), None, now),
            create_time=now,
            update_time=now,
        )
        digest = hashlib.sha256(request.SerializeToString(deterministic=True)).digest()
        async with self._database.transaction() as connection:
            setting = await settings.create(
                connection,
                form.kind,
                setting,
                request_id=request.request_id,
                request_digest=digest,
            )
        return form.write(setting, now)

    async def get(self, request: Any) -> M:
        """Return one."""
        async with self._database.reading() as connection:
            found = await self._find(connection, request.name)
        return self._form.write(found, self._clock.now())

    async def list(self, request: Any) -> tuple[Sequence[M], str]:
        """Return a page of them by name, and the token of the next."""
        page, now = page_of(request), self._clock.now()
        async with self._database.reading() as connection:
            found = await settings.find(
                connection,
                self._form.kind,
                readable_organization(),
                after=page.cursor,
                limit=page.size + 1,
            )
        shown, token = cut(request, page, found, lambda each: each.id)
        return [self._form.write(each, now) for each in shown], token

    async def update(self, request: Any) -> M:
        """Change what people say of one."""
        form, now = self._form, self._clock.now()
        async with self._database.transaction() as connection:
            before = await self._find(connection, request.name, lock=True)
            check_etag(request.name, given=request.etag, current=before.etag)
            merged = merge(
                form.write(before, now),
                getattr(request, form.field),
                request.update_mask.paths,
                fixed=_OUTPUT,
            )
            validate(form.new(merged))
            after = before.updated(form.read(merged, before.content, now), now)
            if after is not before:
                await settings.change(connection, form.kind, after)
        return form.write(after, now)

    async def delete(
        self,
        request: Any,
        *,
        check: Callable[[AsyncConnection, Setting[T]], Awaitable[None]] | None = None,
    ) -> None:
        """Delete one."""
        async with self._database.transaction() as connection:
            found = await self._find(connection, request.name, lock=True)
            if check is not None:
                await check(connection, found)
            await settings.remove(connection, self._form.kind, found)

    async def _find(
        self, connection: AsyncConnection, name: str, *, lock: bool = False
    ) -> Setting[T]:
        setting_id = name.removeprefix(self._form.kind.name(""))
        found = await settings.get(
            connection, self._form.kind, readable_organization(), setting_id, lock=lock
        )
        if found is None:
            raise not_found(name)
        return found

"""Secrets in order: keys that expired are erased, all lies sealed under the primary key."""

from __future__ import annotations

from dataclasses import replace

import structlog

from brikk_shared.crypto import SealingError
from brikk_shared.database import Database
from brikk_shared.key_ring_file import KeyRingFile
from brikk_webhooks.store.sealed import Resting, SealedRows, all_sealed
from brikk_webhooks.store.signing_keys import SigningKeys

_BATCH = 200

_logger = structlog.stdlib.get_logger(__name__)


class KeyUpkeep:
    """Looks after the keys; replicas may do so side by side."""

    def __init__(self, database: Database, key_ring: KeyRingFile) -> None:
        self._database = database
        self._key_ring = key_ring
        self._signing_keys = SigningKeys(database)
        self._sealed = all_sealed(database)

    async def tidy(self) -> bool:
        """Erase what expired, and seal anew what lies under another key than the primary one.

        Nothing is left to do after it.

        Raises:
            Unavailable: the store does not answer.
        """
        async with self._database.transaction(audit=()) as connection:
            await self._signing_keys.erase_expired(connection)
        primary = self._key_ring.primary
        for rows in self._sealed:
            after: tuple[str, int] | None = ("", 0)
            while after is not None:
                after = await self._renew(rows, primary, after)
        return False

    async def _renew(
        self, rows: SealedRows, primary: str, after: tuple[str, int]
    ) -> tuple[str, int] | None:
        """Seal a batch anew; give where the next begins, None when there is none."""
        async with self._database.transaction(audit=()) as connection:
            found = await rows.lock_outdated(connection, primary, after=after, limit=_BATCH)
            renewed = [each for each in map(self._sealed_anew, found) if each is not None]
            if renewed:
                await rows.renew(connection, renewed)
                _logger.info("secrets_sealed_anew", n=len(renewed))
        return (found[-1].webhook_uid, found[-1].version) if len(found) == _BATCH else None

    def _sealed_anew(self, resting: Resting) -> Resting | None:
        try:
            return replace(resting, sealed=self._key_ring.renew(resting.sealed, resting.place))
        except SealingError as error:
            # It stays as it is: its deliveries say that it cannot be opened.
            _logger.warning("secret_not_opened", webhook=resting.webhook_uid, error=str(error))
            return None

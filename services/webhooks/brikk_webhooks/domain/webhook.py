"""What a webhook is: an endpoint of an organisation and the events it asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from brikk_shared.errors import Reason, ResourceExhausted
from brikk_webhooks.domain.signing import Scheme

MOST_KEYS = 10
"""Keys of one scheme that a webhook may have: one that nothing replaced, and the replaced ones."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SigningKey:
    """A key as people see it; its secret half lies elsewhere, sealed."""

    version: int
    scheme: Scheme
    public_key: str
    """Empty for `v1`."""
    expire_time: datetime | None = None
    """Until when it signs; None while nothing replaced it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Webhook:
    """A webhook as people see it."""

    id: str
    url: str
    event_types: tuple[str, ...]
    description: str
    retry_schedule: tuple[timedelta, ...]
    """Waits between attempts; empty means the schedule of the service."""
    create_time: datetime
    signing_keys: tuple[SigningKey, ...]
    """The newest first."""

    @property
    def schemes(self) -> tuple[Scheme, ...]:
        """What its deliveries are signed by."""
        return tuple(key.scheme for key in reversed(self.signing_keys) if key.expire_time is None)


def check_room(webhook: Webhook) -> None:
    """Make sure that the keys of a webhook may be replaced once more.

    Raises:
        ResourceExhausted: as many keys of a scheme as may sign beside one another do so.
    """
    counts = Counter(key.scheme for key in webhook.signing_keys)
    if max(counts.values()) >= MOST_KEYS:
        raise ResourceExhausted(
            Reason.QUOTA_EXCEEDED,
            f"{MOST_KEYS} keys sign already: replace them when some have expired",
            metadata={"quota": "signing_keys", "limit": str(MOST_KEYS)},
        )


def matches(filters: Sequence[str], event_type: str) -> bool:
    """Tell whether an event type passes one of the filters: exact, `prefix.*`, or `*` for all."""
    for wanted in filters:
        if wanted in ("*", event_type):
            return True
        if wanted.endswith(".*") and event_type.startswith(wanted[:-1]):
            return True
    return False

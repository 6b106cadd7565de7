"""What the dispatcher holds of a delivery under way: what to send, where, and under which claim."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from brikk_shared.crypto import Place
from brikk_webhooks.domain.delivery import Attempt, Verdict
from brikk_webhooks.domain.signing import Scheme

_KEY = "webhook"
_HEADERS = "webhook-headers"


@dataclass(frozen=True, kw_only=True, slots=True)
class SealedKey:
    """A signing key as it rests."""

    scheme: Scheme
    sealed: bytes
    place: Place


@dataclass(frozen=True, kw_only=True, slots=True)
class SealedHeaders:
    """The headers of a webhook as they rest: a JSON object, sealed."""

    sealed: bytes
    place: Place


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """An endpoint that deliveries go to, with the keys that sign them, the newest first."""

    organization: str
    webhook_id: str
    url: str
    keys: tuple[SealedKey, ...]
    headers: SealedHeaders | None
    retry_schedule: tuple[timedelta, ...]
    bounded: bool
    """It may be that others wait for room there."""
    failing: bool
    """Its last attempt failed, as far as was known when this one was claimed."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Claim:
    """A delivery that this process, and no other, may attempt until its lease runs out."""

    webhook_uid: str
    delivery_id: str
    claim: str
    """Fences: a worker that lost its lease cannot end what another one has claimed since."""
    attempt: int
    """Number of the attempt to make, from 1."""
    attempts_before: int
    """Those before it was last sent again: the retry schedule begins after them."""
    create_time: datetime
    ordering_key: str | None
    probe: bool
    """It goes alone, to see whether the endpoint has recovered."""
    body: bytes
    target: Target

    @property
    def awaited(self) -> bool:
        """Whether others may become due by its end."""
        return self.probe or self.target.bounded or self.ordering_key is not None


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """An attempt that was made, and what it means for its delivery."""

    claim: Claim
    attempt: Attempt
    verdict: Verdict


def key_place(organization: str, webhook_id: str, version: int) -> Place:
    """Say where a signing key of a webhook belongs."""
    return Place(organization=organization, kind=_KEY, id=webhook_id, version=version)


def headers_place(organization: str, webhook_id: str, version: int) -> Place:
    """Say where headers of a webhook belong."""
    return Place(organization=organization, kind=_HEADERS, id=webhook_id, version=version)

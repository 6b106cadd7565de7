"""What a webhook is: an endpoint of an organisation and the events it asked for."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import IntEnum

from brikk_shared.errors import FailedPrecondition, Reason, ResourceExhausted
from brikk_webhooks.domain.cloudevent import PayloadMode
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


class WebhookState(IntEnum):
    """Whether a webhook is delivered to; the numbers are those that are stored."""

    ACTIVE = 1
    PAUSED = 2
    """Its deliveries wait."""
    DISABLED = 3
    """It gets no deliveries, and those that it had are cancelled."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Subscription:
    """What people say of a webhook, and may change."""

    url: str
    event_types: tuple[str, ...]
    filter: str = ""
    """A condition over the event; empty for none. See `selection`."""
    channels: tuple[str, ...] = ()
    """One of which an event must name; empty for any event."""
    payload_mode: PayloadMode = PayloadMode.FULL
    description: str = ""
    retry_schedule: tuple[timedelta, ...] = ()
    """Waits between attempts; empty means the schedule of the service."""
    max_rate: int = 0
    """Requests per minute; 0 for no bound."""
    max_in_flight: int = 0
    """Requests at once; 0 for the bound of the service."""
    ordering_key: str = ""
    """What in an event keeps its deliveries in order; see `ordering`."""
    payload_retention: timedelta | None = None
    """For how long bodies are kept; None means the time of the service."""
    header_names: tuple[str, ...] = ()
    """Of the headers that requests carry besides; their values lie elsewhere, sealed."""
    headers_version: int = 0
    """Another one whenever they are replaced."""
    handshake: bool = False
    """Whether the endpoint must agree before it is posted to."""

    def must_ask(self, before: Subscription | None) -> bool:
        """Tell whether the endpoint must be asked for this, after what it agreed to before."""
        return self.handshake and (
            before is None
            or (self.url, self.max_rate, True) != (before.url, before.max_rate, before.handshake)
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Webhook:
    """A webhook as people see it."""

    id: str
    subscription: Subscription
    state: WebhookState = WebhookState.ACTIVE
    state_reason: str = ""
    revision: int = 0
    filter_failures: int = 0
    """Events on which its filter failed since it was set."""
    create_time: datetime
    update_time: datetime
    signing_keys: tuple[SigningKey, ...]
    """The newest first."""

    @property
    def schemes(self) -> tuple[Scheme, ...]:
        """What its deliveries are signed by."""
        return tuple(key.scheme for key in reversed(self.signing_keys) if key.expire_time is None)

    @property
    def etag(self) -> str:
        """Changes with whatever people change."""
        return f"r{self.revision}"

    def updated(self, subscription: Subscription, now: datetime) -> Webhook:
        """Return it as it is with another subscription."""
        kept = subscription.filter == self.subscription.filter
        failures = self.filter_failures if kept else 0
        changed = replace(self, subscription=subscription, filter_failures=failures)
        return self._revised(changed, now)

    def paused(self, reason: str, now: datetime) -> Webhook:
        """Return it as it is when its deliveries are kept for later.

        Raises:
            FailedPrecondition: it is disabled.
        """
        self.check_enabled()
        return self._revised(replace(self, state=WebhookState.PAUSED, state_reason=reason), now)

    def resumed(self, now: datetime) -> Webhook:
        """Return it as it is when it is delivered to again.

        Raises:
            FailedPrecondition: it is disabled.
        """
        self.check_enabled()
        return self._revised(replace(self, state=WebhookState.ACTIVE, state_reason=""), now)

    def disabled(self, reason: str, now: datetime) -> Webhook:
        """Return it as it is when it gets no deliveries any more."""
        return self._revised(replace(self, state=WebhookState.DISABLED, state_reason=reason), now)

    def enabled(self, now: datetime) -> Webhook:
        """Return it as it is when it gets deliveries again."""
        if self.state is not WebhookState.DISABLED:
            return self
        return self._revised(replace(self, state=WebhookState.ACTIVE, state_reason=""), now)

    def check_enabled(self) -> None:
        """Make sure that it can have deliveries.

        Raises:
            FailedPrecondition: it is disabled.
        """
        if self.state is WebhookState.DISABLED:
            name = f"webhooks/{self.id}"
            raise FailedPrecondition(
                Reason.WRONG_STATE,
                f"{name} is disabled: enable it first",
                metadata={"resource": name, "state": self.state.name},
            )

    def _revised(self, changed: Webhook, now: datetime) -> Webhook:
        """Return the changed one as a new revision, unless nothing is changed."""
        if changed == self:
            return self
        return replace(changed, revision=self.revision + 1, update_time=now)


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

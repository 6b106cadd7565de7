"""Domain objects as messages of the contract, and names as their parts."""

from __future__ import annotations

import hashlib
from datetime import datetime

from google.protobuf.message import Message

from brikk.webhooks.v1 import insight_pb2, webhook_pb2
from brikk_shared.errors import invalid_field
from brikk_webhooks.domain.cloudevent import PayloadMode
from brikk_webhooks.domain.delivery import Attempt, Delivery, DeliveryState
from brikk_webhooks.domain.endpoint import url_problem
from brikk_webhooks.domain.selection import filter_problems
from brikk_webhooks.domain.signing import Scheme
from brikk_webhooks.domain.statistics import Statistics
from brikk_webhooks.domain.webhook import Subscription, Webhook, WebhookState

_STATES = {
    DeliveryState.PENDING: webhook_pb2.Delivery.STATE_PENDING,
    DeliveryState.DELIVERED: webhook_pb2.Delivery.STATE_DELIVERED,
    DeliveryState.FAILED: webhook_pb2.Delivery.STATE_FAILED,
    DeliveryState.CANCELLED: webhook_pb2.Delivery.STATE_CANCELLED,
}
_WEBHOOK_STATES = {
    WebhookState.ACTIVE: webhook_pb2.Webhook.STATE_ACTIVE,
    WebhookState.PAUSED: webhook_pb2.Webhook.STATE_PAUSED,
    WebhookState.DISABLED: webhook_pb2.Webhook.STATE_DISABLED,
}
_SCHEMES = {
    Scheme.V1: webhook_pb2.Webhook.SIGNATURE_SCHEME_V1,
    Scheme.V1A: webhook_pb2.Webhook.SIGNATURE_SCHEME_V1A,
}
_MODES = {
    PayloadMode.FULL: webhook_pb2.Webhook.PAYLOAD_MODE_FULL,
    PayloadMode.THIN: webhook_pb2.Webhook.PAYLOAD_MODE_THIN,
}
_SCHEMES_ASKED = {message: scheme for scheme, message in _SCHEMES.items()}
_MODES_ASKED = {message: mode for mode, message in _MODES.items()}
_ASKED = {message: state for state, message in _STATES.items()}


def webhook_id_of(name: str) -> str:
    """Take the id out of `webhooks/{webhook}`."""
    return name.removeprefix("webhooks/")


def ids_of_delivery(name: str) -> tuple[str, str]:
    """Take both ids out of `webhooks/{webhook}/deliveries/{delivery}`."""
    webhook, _, delivery = name.partition("/deliveries/")
    return webhook_id_of(webhook), delivery


def state_asked(state: webhook_pb2.Delivery.State.ValueType) -> DeliveryState | None:
    """Read the state that a list is limited to; None when it is not."""
    return _ASKED.get(state)


def state_message(state: DeliveryState) -> webhook_pb2.Delivery.State.ValueType:
    """Write the state of a delivery."""
    return _STATES[state]


def request_digest(request: Message) -> bytes:
    """Tell requests under one request id apart."""
    return hashlib.sha256(request.SerializeToString(deterministic=True)).digest()


def schemes_asked(webhook: webhook_pb2.Webhook) -> tuple[Scheme, ...]:
    """Read the schemes that a webhook is to be signed by: each once, `v1` when none is named.

    Raises:
        InvalidArgument: one of them is unspecified.
    """
    for index, scheme in enumerate(webhook.signature_schemes):
        if scheme not in _SCHEMES_ASKED:
            raise invalid_field(f"webhook.signature_schemes[{index}]", "must be specified")
    asked = (_SCHEMES_ASKED[scheme] for scheme in webhook.signature_schemes)
    return tuple(dict.fromkeys(asked)) or (Scheme.V1,)


def read_subscription(webhook: webhook_pb2.Webhook) -> Subscription:
    """Read what people say of a webhook.

    Raises:
        InvalidArgument: the URL cannot be posted to, or the filter is no condition.
    """
    problem = url_problem(webhook.url)
    if problem is not None:
        raise invalid_field("webhook.url", problem)
    if webhook.filter and (problems := filter_problems(webhook.filter)):
        raise invalid_field("webhook.filter", "; ".join(problems))
    kept = webhook.HasField("payload_retention")
    return Subscription(
        url=webhook.url,
        event_types=tuple(webhook.event_types),
        filter=webhook.filter,
        channels=tuple(webhook.channels),
        payload_mode=_MODES_ASKED.get(webhook.payload_mode, PayloadMode.FULL),
        description=webhook.description,
        retry_schedule=tuple(wait.ToTimedelta() for wait in webhook.retry_schedule),
        max_rate=webhook.max_rate,
        max_in_flight=webhook.max_in_flight,
        ordering_key=webhook.ordering_key,
        payload_retention=webhook.payload_retention.ToTimedelta() if kept else None,
        handshake=webhook.handshake,
    )


def subscription_message(subscription: Subscription) -> webhook_pb2.Webhook:
    """Write what people say of a webhook."""
    message = webhook_pb2.Webhook(
        url=subscription.url,
        event_types=subscription.event_types,
        filter=subscription.filter,
        channels=subscription.channels,
        payload_mode=_MODES[subscription.payload_mode],
        description=subscription.description,
        max_rate=subscription.max_rate,
        max_in_flight=subscription.max_in_flight,
        ordering_key=subscription.ordering_key,
        handshake=subscription.handshake,
    )
    for wait in subscription.retry_schedule:
        message.retry_schedule.add().FromTimedelta(wait)
    if subscription.payload_retention is not None:
        message.payload_retention.FromTimedelta(subscription.payload_retention)
    return message


def webhook_message(webhook: Webhook, *, secret: str = "") -> webhook_pb2.Webhook:
    """Write a webhook, with its secret in the one answer that shows it."""
    message = subscription_message(webhook.subscription)
    message.MergeFrom(
        webhook_pb2.Webhook(
            name=f"webhooks/{webhook.id}",
            secret=secret,
            signature_schemes=(_SCHEMES[scheme] for scheme in webhook.schemes),
            state=_WEBHOOK_STATES[webhook.state],
            state_reason=webhook.state_reason,
            etag=webhook.etag,
            header_names=webhook.subscription.header_names,
            filter_failures=webhook.filter_failures,
        )
    )
    for key in webhook.signing_keys:
        shown = message.signing_keys.add(
            version=key.version, scheme=_SCHEMES[key.scheme], public_key=key.public_key
        )
        if key.expire_time is not None:
            shown.expire_time.FromDatetime(key.expire_time)
    message.create_time.FromDatetime(webhook.create_time)
    message.update_time.FromDatetime(webhook.update_time)
    return message


def delivery_message(webhook_id: str, delivery: Delivery) -> webhook_pb2.Delivery:
    """Write a delivery of a webhook."""
    message = webhook_pb2.Delivery(
        name=f"webhooks/{webhook_id}/deliveries/{delivery.id}",
        event_id=delivery.event_id,
        event_type=delivery.event_type,
        subject=delivery.subject,
        state=_STATES[delivery.state],
        attempts=delivery.attempts,
        response_status=delivery.response_status,
    )
    message.create_time.FromDatetime(delivery.create_time)
    if delivery.next_attempt_time is not None:
        message.next_attempt_time.FromDatetime(delivery.next_attempt_time)
    if delivery.end_time is not None:
        message.end_time.FromDatetime(delivery.end_time)
    return message


def attempt_message(attempt: Attempt) -> webhook_pb2.Attempt:
    """Write an attempt."""
    message = webhook_pb2.Attempt(
        number=attempt.number, response_status=attempt.response_status, error=attempt.error
    )
    message.start_time.FromDatetime(attempt.start_time)
    message.latency.FromTimedelta(attempt.latency)
    return message


def statistics_message(
    name: str, statistics: Statistics, *, start: datetime, end: datetime
) -> insight_pb2.WebhookStats:
    """Write how the deliveries of a window went."""
    counts = statistics.deliveries
    message = insight_pb2.WebhookStats(
        webhook=name,
        deliveries=sum(counts.values()),
        pending=counts.get(DeliveryState.PENDING, 0),
        delivered=counts.get(DeliveryState.DELIVERED, 0),
        failed=counts.get(DeliveryState.FAILED, 0),
        cancelled=counts.get(DeliveryState.CANCELLED, 0),
        attempts=sum(statistics.attempts.values()),
        statuses=[
            insight_pb2.StatusCount(response_status=status, attempts=attempts)
            for status, attempts in statistics.attempts.items()
        ],
    )
    message.start_time.FromDatetime(start)
    message.end_time.FromDatetime(end)
    for percentile, latency in statistics.latencies.items():
        getattr(message, f"latency_p{percentile}").FromTimedelta(latency)
    return message

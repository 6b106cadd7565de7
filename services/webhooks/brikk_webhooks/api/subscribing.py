"""What people say of a webhook: read from requests, merged with what they said before."""

from __future__ import annotations

from dataclasses import replace

from google.protobuf.message import Message

from brikk.webhooks.v1 import webhook_pb2
from brikk.webhooks.v1 import webhook_service_pb2 as pb
from brikk_shared.egress import Egress
from brikk_shared.errors import Aborted, Reason, invalid_field
from brikk_shared.validator import validate
from brikk_webhooks.api.messages import read_subscription, subscription_message
from brikk_webhooks.domain.endpoint import host_of
from brikk_webhooks.domain.headers import header_problem, sorted_names
from brikk_webhooks.domain.webhook import Subscription, Webhook

_WRITABLE = frozenset(
    {
        "channels",
        "description",
        "event_types",
        "filter",
        "handshake",
        "headers",
        "max_in_flight",
        "max_rate",
        "ordering_key",
        "payload_mode",
        "payload_retention",
        "retry_schedule",
        "url",
    }
)


def read_new(webhook: webhook_pb2.Webhook, egress: Egress) -> Subscription:
    """Read what is said of a new webhook.

    Raises:
        InvalidArgument: something of it will not do.
    """
    subscription = read_subscription(webhook)
    egress.check_literal(host_of(subscription.url), field="webhook.url")
    problem = header_problem(webhook.headers)
    if problem is not None:
        raise invalid_field("webhook.headers", problem)
    return replace(subscription, header_names=sorted_names(webhook.headers))


def read_changed(
    webhook: Webhook, request: pb.UpdateWebhookRequest, egress: Egress
) -> Subscription:
    """Read what is said of a webhook once the request has changed it.

    Raises:
        Aborted: the webhook was changed since the request's etag was read.
        InvalidArgument: something of it will not do.
    """
    if request.etag and request.etag != webhook.etag:
        raise Aborted(
            Reason.ETAG_MISMATCH,
            f"{request.name} is at etag {webhook.etag}: read it again",
            metadata={"resource": request.name, "etag": webhook.etag},
        )
    changed = read_new(_merged(webhook, request), egress)
    if changes_headers(request):
        return replace(changed, headers_version=webhook.revision + 1)
    before = webhook.subscription
    return replace(
        changed, header_names=before.header_names, headers_version=before.headers_version
    )


def changes_headers(request: pb.UpdateWebhookRequest) -> bool:
    """Tell whether a request gives other headers, or takes them away."""
    return "headers" in _paths(request)


def _merged(webhook: Webhook, request: pb.UpdateWebhookRequest) -> webhook_pb2.Webhook:
    """Return the webhook as the request wants it, within the limits of the contract."""
    given = request.webhook
    paths = _paths(request)
    unknown = sorted(paths - _WRITABLE)
    if unknown:
        raise invalid_field("update_mask", f"names {unknown[0]}, which cannot be changed")
    merged = subscription_message(webhook.subscription)
    part = webhook_pb2.Webhook()
    part.CopyFrom(given)
    for field in webhook_pb2.Webhook.DESCRIPTOR.fields:
        replaced: Message = merged if field.name in paths else part
        replaced.ClearField(field.name)
    merged.MergeFrom(part)
    validate(pb.CreateWebhookRequest(webhook=merged))
    return merged


def _paths(request: pb.UpdateWebhookRequest) -> set[str]:
    return set(request.update_mask.paths) or {
        field.name for field, _ in request.webhook.ListFields() if field.name in _WRITABLE
    }

"""Which deliveries of a webhook must go one after another: those whose events share a value."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from brikk_webhooks.domain.cloudevent import CloudEvent

_MAX_LENGTH = 256


def ordering_value(event: CloudEvent, key: str) -> str | None:
    """Give what stands at `subject`, `source`, `type` or `data.member...` of an event, as text.

    None when there is no order: the key is empty, or the event lacks the member. A long value is
    told by its hash.
    """
    if not key:
        return None
    attribute, *members = key.split(".")
    value: object = getattr(event, attribute)
    for member in members:
        if not isinstance(value, Mapping):
            return None
        value = value.get(member)
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    if len(text) > _MAX_LENGTH:
        return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
    return text

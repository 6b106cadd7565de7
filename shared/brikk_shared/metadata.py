"""The call metadata that Brikk reads and writes."""

from __future__ import annotations

import re

AUTHORIZATION_KEY = "authorization"
"""`Bearer <token>`."""
ORGANIZATION_KEY = "brikk-organization"
"""The organisation a service acts for; honoured with an internal token only."""
REQUEST_ID_KEY = "brikk-request-id"
"""Names the call in logs, audit and errors. Made when absent; returned as trailing metadata."""
TRACEPARENT_KEY = "traceparent"
"""W3C trace context, passed on into events and calls."""

_REQUEST_ID = re.compile(r"[!-~]{1,64}")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


def is_request_id(text: str) -> bool:
    """Whether it may name a call: at most 64 printable ASCII characters without spaces."""
    return _REQUEST_ID.fullmatch(text) is not None


def is_traceparent(text: str) -> bool:
    """Whether it is a trace context (https://www.w3.org/TR/trace-context/#traceparent-header)."""
    return _TRACEPARENT.fullmatch(text) is not None

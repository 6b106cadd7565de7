"""Headers that people have requests carry: which names and values will do (RFC 9110, 5)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
_VALUE = re.compile(r"[!-~](?:[\t -~]*[!-~])?")
_OURS = frozenset(
    {
        "accept",
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "date",
        "expect",
        "host",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
    }
)
"""What the service, or the connection, says of itself."""
_OUR_PREFIXES = ("webhook-", "ce-", "proxy-")


def header_problem(headers: Mapping[str, str]) -> str | None:
    """Say what is wrong with headers, without repeating a value; None when they will do."""
    if len({name.lower() for name in headers}) < len(headers):
        return "names one of them twice"
    for name, value in sorted(headers.items()):
        if not _NAME.fullmatch(name):
            return f"holds {name!r}, which is no name of a header"
        if name.lower() in _OURS or name.lower().startswith(_OUR_PREFIXES):
            return f"holds {name}, which the service sets itself"
        if not _VALUE.fullmatch(value):
            return f"holds a value of {name} that is empty, not in ASCII, or has spaces at its ends"
    return None


def sorted_names(headers: Iterable[str]) -> tuple[str, ...]:
    """Return the names in an order that does not depend on how they came."""
    return tuple(sorted(headers, key=str.lower))

"""Whether an endpoint agrees to be posted to.

See CloudEvents, "HTTP 1.1 Web Hooks for Event Delivery", 4: abuse protection.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from brikk_shared.errors import FailedPrecondition, Reason

_ANY = "*"


@dataclass(frozen=True, kw_only=True, slots=True)
class Permission:
    """What an endpoint answered when it was asked; headers are None where it gave none."""

    status: int = 0
    error: str = ""
    """Why there was no answer; empty when there was one."""
    origin: str | None = None
    rate: str | None = None


def question(origin: str, max_rate: int) -> Mapping[str, str]:
    """Return the headers that ask an endpoint."""
    asked = {"WebHook-Request-Origin": origin}
    if max_rate:
        asked["WebHook-Request-Rate"] = str(max_rate)
    return asked


def agreed_rate(permission: Permission, *, origin: str, max_rate: int) -> int:
    """Return the requests per minute that both sides agree on; 0 for no bound.

    Raises:
        FailedPrecondition: the endpoint does not agree.
    """
    problem = _problem(permission, origin)
    if problem is not None:
        raise FailedPrecondition(
            Reason.HANDSHAKE_REFUSED,
            f"the endpoint did not agree to be posted to: {problem}",
            metadata={"problem": problem},
        )
    if permission.rate is None or permission.rate == _ANY:
        return max_rate
    allowed = int(permission.rate)
    return min(max_rate or allowed, allowed)


def _problem(permission: Permission, origin: str) -> str | None:
    if permission.error:
        return permission.error
    if not 200 <= permission.status < 300:
        return f"it answered {permission.status}"
    allowed = permission.origin
    if allowed is None or (allowed != _ANY and allowed.lower() != origin.lower()):
        return f"its WebHook-Allowed-Origin is not {origin}"
    rate = permission.rate
    if rate is not None and rate != _ANY and not _is_rate(rate):
        return "its WebHook-Allowed-Rate is no positive number"
    return None


def _is_rate(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 9 and int(text) > 0

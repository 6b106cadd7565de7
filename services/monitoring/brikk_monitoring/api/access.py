"""Whose measurements a call is about, and who may do that with those of the services themselves."""

from __future__ import annotations

from brikk_shared.call import current_call
from brikk_shared.errors import PermissionDenied, Reason
from brikk_shared.identity import INTERNAL_SCOPE, SYSTEM_ORGANIZATION

_ADMIN_SCOPE = "admin"


def readable_organization() -> str:
    """Return the organisation that the call reads.

    Raises:
        PermissionDenied: it is that of the services, and the caller is no administrator.
    """
    identity = current_call().identity
    if identity.organization == SYSTEM_ORGANIZATION and not identity.allows(_ADMIN_SCOPE):
        raise _denied(_ADMIN_SCOPE)
    return identity.organization


def administered_organization() -> str:
    """Return the organisation of the services.

    Raises:
        PermissionDenied: the call is not one of its administrators'.
    """
    if current_call().identity.organization != SYSTEM_ORGANIZATION:
        raise _denied(_ADMIN_SCOPE)
    return readable_organization()


def recording_organization() -> str:
    """Return the organisation that the call reports for.

    Raises:
        PermissionDenied: it is that of the services, and the caller is none.
    """
    identity = current_call().identity
    if identity.organization == SYSTEM_ORGANIZATION and not identity.internal:
        raise _denied(INTERNAL_SCOPE)
    return identity.organization


def _denied(scope: str) -> PermissionDenied:
    return PermissionDenied(
        Reason.SCOPE_MISSING,
        f"the organisation {SYSTEM_ORGANIZATION} needs the scope {scope}",
        metadata={"scope": scope},
    )

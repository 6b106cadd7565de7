"""Who calls, whether the method is theirs to call, and for which organisation they act."""

from __future__ import annotations

from collections.abc import Mapping

from brikk_shared.errors import PermissionDenied, Reason, Unauthenticated, invalid_field
from brikk_shared.identity import INTERNAL_SCOPE, Identity, TokenVerifier, is_organization
from brikk_shared.interceptors.method import Method
from brikk_shared.metadata import AUTHORIZATION_KEY, ORGANIZATION_KEY


async def identify(verifier: TokenVerifier, metadata: Mapping[str, str | bytes]) -> Identity:
    """The caller, by the bearer token of the call.

    A service acts for the organisation it names in the metadata; for others that is ignored.
    """
    scheme, _, token = str(metadata.get(AUTHORIZATION_KEY, "")).partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated(Reason.TOKEN_MISSING, "the call carries no bearer token")
    identity = await verifier.verify(token)
    if identity.internal and (organization := metadata.get(ORGANIZATION_KEY)):
        if not isinstance(organization, str) or not is_organization(organization):
            raise invalid_field(ORGANIZATION_KEY, "is not the name of an organisation")
        return identity.acting_for(organization)
    return identity


def authorize(method: Method, identity: Identity) -> None:
    """PermissionDenied unless the token carries the method's scope."""
    if not identity.allows(method.scope):
        raise PermissionDenied(
            Reason.SCOPE_MISSING,
            f"the token lacks the scope {method.scope}",
            metadata={"scope": method.scope},
        )
    if not identity.organization and method.scope != INTERNAL_SCOPE:
        raise invalid_field(
            ORGANIZATION_KEY, "must name the organisation that the service acts for"
        )

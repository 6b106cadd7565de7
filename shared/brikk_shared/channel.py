"""Channels to other services: each call has a deadline, a token, and the id of what it serves."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from datetime import timedelta
from typing import TypeVar

import grpc
from grpc.aio import ClientCallDetails

from brikk_shared.addresses import is_loopback
from brikk_shared.call import call_under_way
from brikk_shared.clock import Clock
from brikk_shared.errors import StartError
from brikk_shared.identity import INTERNAL_SCOPE
from brikk_shared.ids import new_id
from brikk_shared.metadata import (
    AUTHORIZATION_KEY,
    ORGANIZATION_KEY,
    REQUEST_ID_KEY,
    TRACEPARENT_KEY,
)
from brikk_shared.settings import CommonSettings
from brikk_shared.signing import TokenSigner

DEFAULT_DEADLINE = timedelta(seconds=10)
"""Of a call that names none."""

_TOKEN_LIFE = timedelta(minutes=5)
_TOKEN_REST = timedelta(minutes=1)
"""A token with less life left than this is not used any more."""
_KEEPALIVE_MS = 30_000
# The one level of retry between services. Every method that changes something may be called twice
# with one effect, by its request id or its mark.
_SERVICE_CONFIG = json.dumps(
    {
        "loadBalancingConfig": [{"round_robin": {}}],
        "methodConfig": [
            {
                "name": [{}],
                "retryPolicy": {
                    "maxAttempts": 3,
                    "initialBackoff": "0.1s",
                    "maxBackoff": "1s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ],
    }
)

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")


class ServiceToken:
    """The token that a service shows to others, minted anew before it expires."""

    def __init__(
        self,
        signer: TokenSigner,
        *,
        subject: str,
        scopes: Collection[str],
        audience: str,
        clock: Clock,
    ) -> None:
        self._signer = signer
        self._subject = subject
        self._scopes = {INTERNAL_SCOPE, *scopes}
        self._audience = audience
        self._clock = clock
        self._token = ""
        self._renew_at = clock.now()

    def current(self) -> str:
        """A token that holds for a minute at least."""
        now = self._clock.now()
        if now >= self._renew_at:
            self._token = self._signer.mint(
                subject=self._subject,
                scopes=self._scopes,
                audience=self._audience,
                lifetime=_TOKEN_LIFE,
            )
            self._renew_at = now + _TOKEN_LIFE - _TOKEN_REST
        return self._token


def open_channel(address: str, settings: CommonSettings, token: ServiceToken) -> grpc.aio.Channel:
    """A channel to `host:port` or `dns:///host:port`.

    StartError when it is none of these, would be plaintext off loopback, or the authority cannot
    be read.
    """
    try:
        local = is_loopback(address)
    except ValueError as error:
        raise StartError(f"no channel: {error}") from error
    options = (
        ("grpc.service_config", _SERVICE_CONFIG),
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_send_message_length", settings.max_message_bytes),
        ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
        ("grpc.keepalive_permit_without_calls", 1),
        # Unset it grows to two minutes: so long a service that is back would be taken for gone.
        ("grpc.max_reconnect_backoff_ms", 5_000),
        # A proxy of the environment is for the outside, not for the services among themselves.
        ("grpc.enable_http_proxy", 0),
    )
    interceptors: Sequence[grpc.aio.ClientInterceptor] = (_UnaryCalls(token), _StreamCalls(token))
    if settings.tls_authority is not None:
        try:
            authority = settings.tls_authority.read_bytes()
        except OSError as error:
            raise StartError(f"cannot read {error.filename}: {error.strerror}") from error
        credentials = grpc.ssl_channel_credentials(authority)
        return grpc.aio.secure_channel(address, credentials, options, interceptors=interceptors)
    if not settings.allow_plaintext and not local:
        raise StartError(
            f"calls to {address} would be plaintext off loopback: "
            "set tls_authority, or allow_plaintext"
        )
    return grpc.aio.insecure_channel(address, options, interceptors=interceptors)


class _UnaryCalls(grpc.aio.UnaryUnaryClientInterceptor):
    def __init__(self, token: ServiceToken) -> None:
        self._token = token

    async def intercept_unary_unary(
        self,
        continuation: Callable[
            [ClientCallDetails, _Request], Awaitable[grpc.aio.UnaryUnaryCall[_Request, _Response]]
        ],
        client_call_details: ClientCallDetails,
        request: _Request,
    ) -> _Response | grpc.aio.UnaryUnaryCall[_Request, _Response]:
        return await continuation(_complete(client_call_details, self._token), request)


class _StreamCalls(grpc.aio.UnaryStreamClientInterceptor):
    def __init__(self, token: ServiceToken) -> None:
        self._token = token

    async def intercept_unary_stream(
        self,
        continuation: Callable[
            [ClientCallDetails, _Request], Awaitable[grpc.aio.UnaryStreamCall[_Request, _Response]]
        ],
        client_call_details: ClientCallDetails,
        request: _Request,
    ) -> AsyncIterator[_Response] | grpc.aio.UnaryStreamCall[_Request, _Response]:
        return await continuation(_complete(client_call_details, self._token), request)


def _complete(details: ClientCallDetails, token: ServiceToken) -> ClientCallDetails:
    """Add what the caller of a stub did not give: a deadline, and what the served call says.

    A loop serves no call; it names the organisation in the metadata itself.
    """
    metadata = grpc.aio.Metadata(*(details.metadata or ()))
    given = metadata.keys()
    call = call_under_way()
    if REQUEST_ID_KEY not in given:
        metadata.add(REQUEST_ID_KEY, call.request_id if call else new_id())
    if call and call.identity.organization and ORGANIZATION_KEY not in given:
        metadata.add(ORGANIZATION_KEY, call.identity.organization)
    if call and call.traceparent and TRACEPARENT_KEY not in given:
        metadata.add(TRACEPARENT_KEY, call.traceparent)
    metadata[AUTHORIZATION_KEY] = f"Bearer {token.current()}"
    return ClientCallDetails(
        details.method,
        DEFAULT_DEADLINE.total_seconds() if details.timeout is None else details.timeout,
        metadata,
        details.credentials,
        details.wait_for_ready,
    )

"""Where the Brikk services are and with which token to call them, for agents and the CLI."""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

import grpc

Service = Literal["discovery", "workflow", "webhooks", "monitoring"]
SERVICES: tuple[Service, ...] = ("discovery", "workflow", "webhooks", "monitoring")

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")


class NotConnected(Exception):
    """Nothing says how to reach the suite; the message says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """How to reach the suite: what `brikk up` wrote to client.json, overridden by the environment.

    `addresses` maps a service to `host:port`. `call_jwks` is the path or URL of the keys that calls
    to agents are signed with; empty when it is not known.
    """

    addresses: Mapping[Service, str]
    token: str = field(default="", repr=False)
    call_jwks: str = ""
    organization: str = ""

    @classmethod
    def load(cls, environment: Mapping[str, str] = os.environ) -> Connection:
        """Reads client.json in the folder BRIKK_HOME (.brikk unless set) and the environment.

        BRIKK_<SERVICE>_ADDRESS, BRIKK_TOKEN and BRIKK_CALL_JWKS take precedence, so that the file
        is not needed when they say everything. Raises NotConnected when there is neither, or when
        the file is damaged.
        """
        file = Path(environment.get("BRIKK_HOME", ".brikk")) / "client.json"
        stored = _read(file)
        addresses: dict[Service, str] = {
            service: address
            for service in SERVICES
            if (
                address := environment.get(f"BRIKK_{service.upper()}_ADDRESS")
                or stored.get(service, "")
            )
        }
        if not addresses:
            raise NotConnected(
                f"No Brikk suite is known: there is no {file}. "
                "Run `brikk up`, or set BRIKK_DISCOVERY_ADDRESS and BRIKK_TOKEN."
            )
        return cls(
            addresses=addresses,
            token=environment.get("BRIKK_TOKEN") or stored.get("token", ""),
            call_jwks=environment.get("BRIKK_CALL_JWKS") or stored.get("call_jwks", ""),
            organization=stored.get("organization", ""),
        )

    def address(self, service: Service) -> str:
        """Returns the `host:port` of a service; raises NotConnected when it is not known."""
        if service not in self.addresses:
            raise NotConnected(
                f"The address of the {service} service is not known. "
                f"Run `brikk up`, or set BRIKK_{service.upper()}_ADDRESS."
            )
        return self.addresses[service]

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What carries the token in a call that streams requests."""
        return (("authorization", self._bearer),)

    @property
    def _bearer(self) -> str:
        return f"Bearer {self.token}"

    def channel(self, service: Service) -> grpc.aio.Channel:
        """Opens a channel to a service whose calls carry the token; the caller closes it.

        But for calls that stream requests: those are begun with `metadata`.

        Raises NotConnected when the address or the token is not known.
        """
        if not self.token:
            raise NotConnected("There is no token. Run `brikk up`, or set BRIKK_TOKEN.")
        return grpc.aio.insecure_channel(
            self.address(service),
            # A proxy of the environment is for the outside, not for the suite.
            options=[("grpc.enable_http_proxy", 0)],
            # For streams of requests, gRPC's interceptors leave tasks behind when a stream ends.
            interceptors=[_UnaryBearer(self._bearer), _StreamBearer(self._bearer)],
        )


def _read(file: Path) -> dict[str, str]:
    try:
        stored = json.loads(file.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise NotConnected(f"{file} cannot be read: {error}. `brikk up` writes it anew.") from error
    if not isinstance(stored, dict):
        raise NotConnected(f"{file} does not hold a JSON object. `brikk up` writes it anew.")
    return {key: value for key, value in stored.items() if isinstance(value, str)}


class _UnaryBearer(grpc.aio.UnaryUnaryClientInterceptor):
    """Adds the token to calls with one answer."""

    def __init__(self, bearer: str) -> None:
        self._bearer = bearer

    async def intercept_unary_unary(
        self,
        continuation: Callable[
            [grpc.aio.ClientCallDetails, _Request],
            Awaitable[grpc.aio.UnaryUnaryCall[_Request, _Response]],
        ],
        client_call_details: grpc.aio.ClientCallDetails,
        request: _Request,
    ) -> _Response | grpc.aio.UnaryUnaryCall[_Request, _Response]:
        return await continuation(_with(client_call_details, self._bearer), request)


class _StreamBearer(grpc.aio.UnaryStreamClientInterceptor):
    """Adds the token to calls with a stream of answers."""

    def __init__(self, bearer: str) -> None:
        self._bearer = bearer

    async def intercept_unary_stream(
        self,
        continuation: Callable[
            [grpc.aio.ClientCallDetails, _Request],
            Awaitable[grpc.aio.UnaryStreamCall[_Request, _Response]],
        ],
        client_call_details: grpc.aio.ClientCallDetails,
        request: _Request,
    ) -> grpc.aio.UnaryStreamCall[_Request, _Response]:
        return await continuation(_with(client_call_details, self._bearer), request)


def _with(details: grpc.aio.ClientCallDetails, bearer: str) -> grpc.aio.ClientCallDetails:
    # A new Metadata: the given one may belong to the caller, who would find our token in it.
    metadata = grpc.aio.Metadata(*(details.metadata or ()), ("authorization", bearer))
    return grpc.aio.ClientCallDetails(
        details.method, details.timeout, metadata, details.credentials, details.wait_for_ready
    )

"""The gRPC server of a service: its calls, health and reflection, on one listener."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TypeVar

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from brikk_shared.addresses import split_address
from brikk_shared.errors import StartError
from brikk_shared.settings import CommonSettings

_KEEPALIVE = timedelta(seconds=30)
_SHORTEST_PING_INTERVAL = timedelta(seconds=10)
_MOST_PENDING = 20_000
"""Calls that may have come and not been seen yet, while the loop is busy with others."""
_LONGEST_CALL = timedelta(minutes=6)
"""More than any call but a stream may take: how long a connection that is too old lives on."""

_NOT_SHARED = (("grpc.so_reuseport", 0),)
"""Two processes on one port would share the calls without anybody noticing."""

LIVENESS = "liveness"
"""The service whose health says that the process lives, whether or not calls are welcome."""

Servicer = TypeVar("Servicer")
AddToServer = Callable[[Servicer, grpc.aio.Server], None]


class Server:
    """A grpc.aio server. `start` it once everything is mounted; `drain`, then `stop` it."""

    def __init__(self, settings: CommonSettings, interceptor: grpc.aio.ServerInterceptor) -> None:
        self._settings = settings
        self._server = grpc.aio.server(interceptors=[interceptor], options=_options(settings))
        self._health = health.aio.HealthServicer()
        self._services: list[str] = []
        self._port = 0
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        self._probes: grpc.aio.Server | None = None
        self._probes_port = 0
        self._probed = health.aio.HealthServicer()
        self._draining = False

    @property
    def address(self) -> str:
        """Where it listens, once started."""
        return _at(self._settings.listen, self._port)

    @property
    def health_address(self) -> str | None:
        """Where health alone is answered, once started; None when nowhere."""
        address = self._settings.health_listen
        return None if address is None else _at(address, self._probes_port)

    def mount(
        self, add: AddToServer[Servicer], servicer: Servicer, service: ServiceDescriptor
    ) -> None:
        """Offer a service."""
        add(servicer, self._server)
        self._services.append(service.full_name)

    async def start(self) -> None:
        """Listen, with health NOT_SERVING. StartError without the address or a TLS file."""
        listed = [*self._services, health.SERVICE_NAME, reflection.SERVICE_NAME]
        reflection.enable_server_reflection(listed, self._server)
        await self.set_serving(serving=False)
        self._port = _bind(self._server, self._settings.listen, _credentials(self._settings))
        if self._settings.health_listen is not None:
            self._probes = grpc.aio.server(options=_NOT_SHARED)
            health_pb2_grpc.add_HealthServicer_to_server(self._probed, self._probes)
            self._probes_port = _bind(self._probes, self._settings.health_listen, None)
            await self._probed.set(LIVENESS, health_pb2.HealthCheckResponse.SERVING)
            await self._probes.start()
        await self._server.start()

    async def set_serving(self, *, serving: bool) -> None:
        """Say by health, of each service and overall, whether calls are welcome."""
        status = (
            health_pb2.HealthCheckResponse.SERVING
            if serving and not self._draining
            else health_pb2.HealthCheckResponse.NOT_SERVING
        )
        for service in ("", *self._services):
            await self._health.set(service, status)
            await self._probed.set(service, status)

    async def drain(self) -> None:
        """Turn clients away: health NOT_SERVING for good, then wait until they looked."""
        self._draining = True
        await self.set_serving(serving=False)
        await self._health.enter_graceful_shutdown()
        await asyncio.sleep(self._settings.drain_delay.total_seconds())

    async def stop(self) -> None:
        """Accept no more calls; those under way may finish within the grace."""
        await self._server.stop(self._settings.drain_grace.total_seconds())

    async def close(self) -> None:
        """Answer probes no more: the process ends."""
        if self._probes is not None:
            await self._probes.stop(None)


def _at(address: str, port: int) -> str:
    host, _, _ = address.rpartition(":")
    return f"{host}:{port}"


def _bind(server: grpc.aio.Server, address: str, credentials: grpc.ServerCredentials | None) -> int:
    try:
        if credentials is None:
            return server.add_insecure_port(address)
        return server.add_secure_port(address, credentials)
    except RuntimeError as error:
        raise StartError(f"cannot listen on {address}: {_why_not(address)}") from error


def _why_not(address: str) -> str:
    """Why nothing can listen there; gRPC does not say."""
    host, port = split_address(address)
    try:
        family, kind, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.bind(place)
    except OSError as error:
        return error.strerror or str(error)
    return "Address already in use"


def _options(settings: CommonSettings) -> Sequence[tuple[str, int]]:
    def milliseconds(duration: timedelta) -> int:
        return int(duration.total_seconds() * 1000)

    return (
        *_NOT_SHARED,
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_send_message_length", settings.max_message_bytes),
        # gRPC cancels, without a word, what pends beyond these (by default 1000 and 3000); what is
        # too much for us is refused with a reason.
        ("grpc.server.max_pending_requests", _MOST_PENDING),
        ("grpc.server.max_pending_requests_hard_limit", _MOST_PENDING),
        ("grpc.max_connection_age_ms", milliseconds(settings.connection_age)),
        ("grpc.max_connection_age_grace_ms", milliseconds(_LONGEST_CALL)),
        ("grpc.keepalive_time_ms", milliseconds(_KEEPALIVE)),
        (
            "grpc.http2.min_recv_ping_interval_without_data_ms",
            milliseconds(_SHORTEST_PING_INTERVAL),
        ),
        ("grpc.keepalive_permit_without_calls", 1),
    )


def _credentials(settings: CommonSettings) -> grpc.ServerCredentials | None:
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    try:
        pair = (settings.tls_key.read_bytes(), settings.tls_certificate.read_bytes())
    except OSError as error:
        raise StartError(f"cannot read {error.filename}: {error.strerror}") from error
    return grpc.ssl_server_credentials([pair])

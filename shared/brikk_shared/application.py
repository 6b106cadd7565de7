"""A service as a process: resources, loops, servicers and listeners, started and stopped in order.

Start: resources -> loops -> server and HTTP listener -> health SERVING. Stop, on SIGTERM or SIGINT:
health NOT_SERVING -> a delay for clients to notice -> streams are ended, the server finishes its
calls, and the drain hooks what is in flight -> loops -> listeners -> resources, the last entered
first.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import NoReturn, TypeVar

import grpc
import structlog
from google.protobuf.descriptor import ServiceDescriptor

from brikk_shared import faults
from brikk_shared.audit import AuditSink
from brikk_shared.channel import ServiceToken, open_channel
from brikk_shared.clock import Clock, SystemClock
from brikk_shared.errors import BrikkError, StartError
from brikk_shared.identity import TokenVerifier
from brikk_shared.interceptors.audit import AuditTrail
from brikk_shared.interceptors.limits import Limits
from brikk_shared.interceptors.method import Method, methods_of
from brikk_shared.interceptors.metrics import CallMetrics
from brikk_shared.interceptors.passage import Parts
from brikk_shared.interceptors.pipeline import Pipeline
from brikk_shared.interceptors.streams import Streams
from brikk_shared.logs import set_up_logs
from brikk_shared.process import Process, leave, load, settle
from brikk_shared.server import AddToServer, Server, Servicer
from brikk_shared.settings import CommonSettings
from brikk_shared.signing import TokenSigner

S = TypeVar("S", bound=CommonSettings)

Build = Callable[[S, "Application"], Awaitable[None]]
"""A service's composition root: enters resources, adds loops, mounts servicers."""

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Running:
    """A service that serves."""

    address: str
    """Of the gRPC server, host:port."""
    http_address: str
    health_address: str | None
    """Where health alone is answered, if anywhere."""
    application: Application


class Application(Process):
    """What a service's `build` puts together."""

    def __init__(
        self, settings: CommonSettings, *, clock: Clock, resources: AsyncExitStack
    ) -> None:
        super().__init__(settings, clock=clock, resources=resources)
        self.calls = CallMetrics(self.telemetry.registry)
        self._methods: dict[str, Method] = {}
        self._mounts: list[Callable[[Server], None]] = []
        self._audit_sink: AuditSink | None = None
        self._streams = Streams(clock)
        self._server: Server | None = None

    def mount(
        self, add: AddToServer[Servicer], servicer: Servicer, service: ServiceDescriptor
    ) -> None:
        """Offer a service of the contract."""
        self._methods |= methods_of(service)
        self._mounts.append(lambda server: server.mount(add, servicer, service))

    def audit(self, sink: AuditSink) -> None:
        """Write the audit entries that no transaction took into this sink."""
        self._audit_sink = sink

    def channel(self, address: str, *, scopes: Collection[str] = ()) -> grpc.aio.Channel:
        """A channel to another service, `host:port` or `dns:///host:port`, with this one's tokens.

        They carry the scope `internal` and those given. A call for an organisation names it in the
        metadata `brikk-organization`; without, it is for that of the call under way.
        """
        token = ServiceToken(
            self._signer(),
            subject=f"services/{self.settings.service}",
            scopes=scopes,
            audience=self.settings.audience,
            clock=self.clock,
        )
        channel = open_channel(address, self.settings, token)
        self._resources.push_async_callback(channel.close)
        return channel

    async def start(self) -> Running:
        """Start what was put together: loops, listeners, then health SERVING."""
        verifier = TokenVerifier(
            self.settings.issuers, audience=self.settings.audience, clock=self.clock
        )
        try:
            await verifier.start()
        except (OSError, ValueError) as error:
            raise StartError(f"cannot read the keys of an issuer: {error}") from error
        server = self._server = Server(self.settings, self._pipeline(verifier))
        self._resources.push_async_callback(server.close)
        http_address = await self.begin(self.settings.http_listen)
        for mount in self._mounts:
            mount(server)
        await server.start()
        self._resources.push_async_callback(self._drain, server)
        await server.set_serving(serving=self.supervisor.ready)
        return Running(
            address=server.address,
            http_address=http_address,
            health_address=server.health_address,
            application=self,
        )

    def _signer(self) -> TokenSigner:
        if self.settings.service_key is None:
            raise StartError("calls to other services need service_key")
        try:
            return TokenSigner.from_file(self.settings.service_key, clock=self.clock)
        except (OSError, ValueError) as error:
            raise StartError(f"cannot use service_key: {error}") from error

    def _pipeline(self, verifier: TokenVerifier) -> Pipeline:
        limits = Limits(
            self.clock,
            rate=self.settings.rate_limit,
            burst=self.settings.rate_burst,
            max_calls=self.settings.max_concurrent_calls,
        )
        if self._audit_sink is None and any(each.audited for each in self._methods.values()):
            raise ValueError("methods are mounted that are audited, but there is no audit sink")
        audit = AuditTrail(self.clock, self._audit_sink)
        parts = Parts(verifier=verifier, limits=limits, streams=self._streams, audit=audit)
        return Pipeline(self._methods, parts, self.calls)

    async def _drain(self, server: Server) -> None:
        await server.drain()
        self._streams.end()
        await asyncio.gather(server.stop(), self.finish())

    async def _loop_changed(self, name: str, running: bool) -> None:
        await super()._loop_changed(name, running)
        if self._server is not None:
            await self._server.set_serving(serving=self.supervisor.ready)


@asynccontextmanager
async def running(
    settings: S, build: Build[S], *, clock: Clock | None = None
) -> AsyncIterator[Running]:
    """Run a service in this process, from serving to drained."""
    async with AsyncExitStack() as resources:
        application = Application(settings, clock=clock or SystemClock(), resources=resources)
        await build(settings, application)
        yield await application.start()


def run(settings_type: type[S], build: Build[S]) -> NoReturn:
    """Be the process of a service, until SIGTERM or SIGINT: then exit 0.

    Exit 2 when a setting is wrong, 1 when it cannot start.
    """
    settings = load(settings_type)
    set_up_logs(level=settings.log_level, form=settings.log_format)
    if settings.fault:
        faults.arm(settings.fault)
    try:
        asyncio.run(_serve(settings, build))
    except (StartError, BrikkError) as error:
        leave(1, f"{settings.service}: {error}")
    sys.exit(0)


async def _serve(settings: S, build: Build[S]) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop(signum: signal.Signals) -> None:
        stopping.set()
        loop.remove_signal_handler(signum)  # so that a second one ends the process at once

    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop, signum)
    async with running(settings, build) as service:
        settle()
        _log.info("serving", grpc=service.address, http=service.http_address)
        await stopping.wait()
        _log.info("stopping")
    _log.info("stopped")

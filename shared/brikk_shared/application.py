"""A service as a process: resources, loops, servicers and listeners, started and stopped in order.

Start: resources -> loops -> server and HTTP listener -> health SERVING. Stop, on SIGTERM or SIGINT:
health NOT_SERVING -> a delay for clients to notice -> streams are ended, the server finishes its
calls, and the drain hooks what is in flight -> loops -> listeners -> resources, the last entered
first.
"""

from __future__ import annotations

import asyncio
import gc
import re
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import NoReturn, TypeVar

import grpc
import structlog
from google.protobuf.descriptor import ServiceDescriptor
from pydantic import ValidationError
from pydantic_settings import SettingsError

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
from brikk_shared.lifecycle import Run, Supervisor
from brikk_shared.logs import set_up_logs
from brikk_shared.server import AddToServer, Server, Servicer
from brikk_shared.settings import CommonSettings
from brikk_shared.signing import TokenSigner
from brikk_shared.telemetry import HttpHandler, HttpListener, Telemetry

S = TypeVar("S", bound=CommonSettings)
T = TypeVar("T")

Build = Callable[[S, "Application"], Awaitable[None]]
"""A service's composition root: enters resources, adds loops, mounts servicers."""

_YOUNG = 20_000
"""New objects before the collector looks for cycles among them: calls leave hardly any."""

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Running:
    """A service that serves."""

    address: str
    """Of the gRPC server, host:port."""
    http_address: str
    application: Application


class Application:
    """What a service's `build` puts together."""

    def __init__(
        self, settings: CommonSettings, *, clock: Clock, resources: AsyncExitStack
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.telemetry = Telemetry(settings.service)
        self.supervisor = Supervisor(clock, watcher=self._loop_changed)
        self._resources = resources
        self._methods: dict[str, Method] = {}
        self._mounts: list[Callable[[Server], None]] = []
        self._routes: dict[str, HttpHandler] = {"/metrics": self.telemetry.serve_metrics}
        self._drain_hooks: list[Run] = []
        self._audit_sink: AuditSink | None = None
        self._streams = Streams(clock)
        self._server: Server | None = None

    async def enter(self, resource: AbstractAsyncContextManager[T]) -> T:
        """Open a resource; it is closed after the server and the loops, the last entered first."""
        return await self._resources.enter_async_context(resource)

    def loop(self, name: str, run: Run) -> None:
        """Keep a loop running: from before the server serves until after it stopped."""
        self.telemetry.loop_restarts.labels(name)
        self.supervisor.add(name, run)

    def on_drain(self, hook: Run) -> None:
        """Call this when the process is to stop, while the loops still run.

        It takes on nothing more and finishes what is in flight; it is cancelled after the grace.
        """
        self._drain_hooks.append(hook)

    def mount(
        self, add: AddToServer[Servicer], servicer: Servicer, service: ServiceDescriptor
    ) -> None:
        """Offer a service of the contract."""
        self._methods |= methods_of(service)
        self._mounts.append(lambda server: server.mount(add, servicer, service))

    def audit(self, sink: AuditSink) -> None:
        """Write the audit entries that no transaction took into this sink."""
        self._audit_sink = sink

    def http(self, path: str, handler: HttpHandler) -> None:
        """Answer GET of a path on the HTTP listener, beside /metrics."""
        self._routes[path] = handler

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
        self._resources.push_async_callback(self.supervisor.stop)
        self.supervisor.start()
        listener = HttpListener(self.settings.http_listen, self._routes)
        self._resources.push_async_callback(listener.stop)
        await listener.start()
        server = self._server = Server(self.settings, self._pipeline(verifier))
        for mount in self._mounts:
            mount(server)
        await server.start()
        self._resources.push_async_callback(self._drain, server)
        await server.set_serving(serving=self.supervisor.ready)
        return Running(address=server.address, http_address=listener.address, application=self)

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
        return Pipeline(self._methods, parts, CallMetrics(self.telemetry.registry))

    async def _drain(self, server: Server) -> None:
        await server.drain()
        self._streams.end()
        finished = await asyncio.gather(
            server.stop(), *map(self._finish, self._drain_hooks), return_exceptions=True
        )
        for error in finished:
            if error is not None:
                _log.error("drain_failed", exc_info=error)

    async def _finish(self, hook: Run) -> None:
        try:
            async with asyncio.timeout(self.settings.drain_grace.total_seconds()):
                await hook()
        except TimeoutError:
            _log.warning("drain_unfinished", grace=str(self.settings.drain_grace))

    async def _loop_changed(self, name: str, running: bool) -> None:
        if running:
            self.telemetry.loop_restarts.labels(name).inc()
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
    settings = _load(settings_type)
    set_up_logs(level=settings.log_level, form=settings.log_format)
    if settings.fault:
        faults.arm(settings.fault)
    try:
        asyncio.run(_serve(settings, build))
    except (StartError, BrikkError) as error:
        _exit(1, f"{settings.service}: {error}")
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
        # What start-up made lives as long as the process: the collector need not look at it.
        gc.collect()
        gc.freeze()
        gc.set_threshold(_YOUNG)
        _log.info("serving", grpc=service.address, http=service.http_address)
        await stopping.wait()
        _log.info("stopping")
    _log.info("stopped")


def _load(settings_type: type[S]) -> S:
    """The settings from the environment. What was given is not repeated: it may be a secret."""
    prefix = settings_type.model_config.get("env_prefix", "")
    try:
        return settings_type()
    except SettingsError as error:
        field = re.search(r'field "(\w+)"', str(error))
        _exit(2, f"{prefix}{field[1].upper() if field else '*'}: not valid JSON")
    except ValidationError as error:
        problems = (
            f"{prefix}{'.'.join(map(str, each['loc'])).upper() or '*'}: {each['msg']}"
            for each in error.errors(include_input=False, include_url=False)
        )
        _exit(2, "\n".join(problems))


def _exit(code: int, message: str) -> NoReturn:
    sys.stderr.write(f"{message}\n")
    sys.exit(code)

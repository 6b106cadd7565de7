"""What the process tells its operators: metrics, and the HTTP listener that serves them."""

from __future__ import annotations

import platform
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from typing import cast

from aiohttp import web
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import choose_encoder

from brikk_shared.addresses import split_address
from brikk_shared.errors import StartError

_PATIENCE_S = 1.0
"""How long an answer under way may take when the listener stops."""

HttpHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Telemetry:
    """The metrics of one process. Services register theirs with `registry`."""

    def __init__(self, service: str) -> None:
        # They double the series of every counter and say little.
        cast(Callable[[], None], disable_created_metrics)()
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        build = Gauge(
            "brikk_build_info",
            "What runs here; always 1.",
            ["service", "version", "python"],
            registry=self.registry,
        )
        build.labels(service, version("brikk-shared"), platform.python_version()).set(1)
        self.loop_restarts = Counter(
            "brikk_loop_restarts",
            "Restarts of loops that died.",
            ["loop"],
            registry=self.registry,
        )

    async def serve_metrics(self, request: web.Request) -> web.Response:
        """Answer a scrape in the format that the scraper asks for."""
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(self.registry), headers={"Content-Type": content_type})


class HttpListener:
    """The HTTP side of a process, for operators and for keys that others fetch."""

    def __init__(self, address: str, routes: dict[str, HttpHandler]) -> None:
        self._host, self._port = split_address(address)
        self._address = address
        application = web.Application()
        for path, handler in routes.items():
            application.router.add_get(path, handler)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=_PATIENCE_S)

    @property
    def address(self) -> str:
        """Where it listens, once started."""
        host, port = self._runner.addresses[0][:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    async def start(self) -> None:
        """Listen. StartError when the address cannot be had."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port)
        try:
            await site.start()
        except OSError as error:
            raise StartError(f"cannot listen on {self._address}: {error.strerror}") from error

    async def stop(self) -> None:
        """Stop listening."""
        await self._runner.cleanup()

"""What every process of a service has: settings, resources, loops, metrics and an end in order."""

from __future__ import annotations

import asyncio
import gc
import re
import sys
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import NoReturn, TypeVar

import structlog
from pydantic import ValidationError
from pydantic_settings import SettingsError

from brikk_shared.clock import Clock
from brikk_shared.lifecycle import Run, Supervisor
from brikk_shared.settings import CommonSettings
from brikk_shared.telemetry import HttpHandler, HttpListener, Telemetry

S = TypeVar("S", bound=CommonSettings)
T = TypeVar("T")

_YOUNG = 20_000
"""New objects before the collector looks for cycles among them: calls leave hardly any."""

_log = structlog.stdlib.get_logger(__name__)


class Process:
    """What runs as long as a process does; an `Application` is one that serves calls besides."""

    def __init__(
        self, settings: CommonSettings, *, clock: Clock, resources: AsyncExitStack
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.telemetry = Telemetry(settings.service)
        self.supervisor = Supervisor(clock, watcher=self._loop_changed)
        self._resources = resources
        self._routes: dict[str, HttpHandler] = {"/metrics": self.telemetry.serve_metrics}
        self._drain_hooks: list[Run] = []

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

    def http(self, path: str, handler: HttpHandler) -> None:
        """Answer GET of a path on the HTTP listener, beside /metrics."""
        self._routes[path] = handler

    async def begin(self, http_listen: str) -> str:
        """Start the loops and the HTTP listener; return where it listens."""
        self._resources.push_async_callback(self.supervisor.stop)
        self.supervisor.start()
        listener = HttpListener(http_listen, self._routes)
        self._resources.push_async_callback(listener.stop)
        await listener.start()
        return listener.address

    async def finish(self) -> None:
        """Call the hooks for the end, all at once."""
        ends = await asyncio.gather(*map(self._finish, self._drain_hooks), return_exceptions=True)
        for error in ends:
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


def settle() -> None:
    """Say that what start-up made lives as long as the process: the collector may pass it over."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG)


def load(settings_type: type[S]) -> S:
    """Read the settings from the environment; the process ends with 2 when one is wrong.

    What was given is not repeated: it may be a secret.
    """
    prefix = settings_type.model_config.get("env_prefix", "")
    try:
        return settings_type()
    except SettingsError as error:
        field = re.search(r'field "(\w+)"', str(error))
        leave(2, f"{prefix}{field[1].upper() if field else '*'}: not valid JSON")
    except ValidationError as error:
        problems = (
            f"{prefix}{'.'.join(map(str, each['loc'])).upper() or '*'}: {each['msg']}"
            for each in error.errors(include_input=False, include_url=False)
        )
        leave(2, "\n".join(problems))


def leave(code: int, message: str) -> NoReturn:
    """End the process, saying why."""
    sys.stderr.write(f"{message}\n")
    sys.exit(code)

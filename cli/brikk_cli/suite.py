"""A whole suite on this machine: Valkey and the four services as child processes of this one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from brikk_cli.children import Child, ChildSpec, LogSink
from brikk_cli.failures import CommandError
from brikk_cli.home import Home, write_json
from brikk_cli.keys import LOCAL_ORGANIZATION, USER_SCOPES, make_keys, user_token
from brikk_cli.plan import (
    SERVICES,
    VALKEY,
    WORKER_PORTS,
    WORKERS,
    client_document,
    client_environment,
    service_specs,
    valkey_spec,
    valkey_url,
)
from brikk_cli.ports import Ports
from brikk_cli.readiness import scraped, serving, valkey_answering
from brikk_shared.clock import SystemClock

START_TIMEOUT = timedelta(seconds=60)


class Suite:
    """Runs from `async with` until its end; in between it keeps every process alive.

    Raises CommandError when the home folder is in use, a port is taken, or a process ends before
    it serves. `environment` is given to every service and wins over the suite's own settings. With
    `workers`, Celery workers do what services else do beside their calls.
    """

    def __init__(
        self,
        home: Path,
        *,
        ports: Ports | None = None,
        environment: Mapping[str, str] | None = None,
        database_url: str | None = None,
        workers: bool = False,
        log: LogSink = lambda _name, _line: None,
        log_level: str = "info",
    ) -> None:
        self.home = Home(home)
        self.ports = ports or Ports()
        self.addresses = {service: self.ports.address(service) for service in SERVICES}
        self.http_addresses = {
            service: self.ports.address(f"{service}_http") for service in SERVICES
        }
        self._environment = environment or {}
        self._database_url = database_url
        self.workers = workers
        self._log = log
        self._log_level = log_level
        self._children: dict[str, Child] = {}

    async def __aenter__(self) -> Self:
        if self.workers and not (self._database_url or "").startswith("postgres"):
            raise CommandError(
                "Celery workers need PostgreSQL: they are processes of their own, and an SQLite"
                " file serves one; name databases with --database-url postgresql://.../{service}"
            )
        async with AsyncExitStack() as stack:
            stack.enter_context(self.home.occupied())
            self._check_ports()
            stack.push_async_callback(self._stop_all)
            await self._start_all()
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    def pid(self, name: str) -> int | None:
        """Process id of a child; None while it is down."""
        return self._children[name].pid

    async def kill(self, name: str) -> None:
        """Ends a child at once, as a crash would; it is started again (see `ready`)."""
        await self._children[name].kill()

    async def stop(self, name: str) -> None:
        """Stops a child in good order; it stays down until `start`."""
        await self._children.pop(name).stop()
        self._write_processes()

    async def start(self, service: str, environment: Mapping[str, str] | None = None) -> None:
        """Starts a service that was stopped, with more environment if given, until it serves."""
        await self._run(self._service_specs(environment or {})[service])
        await self._served(service, serving(self.addresses[service]))

    async def run_beside(self, spec: ChildSpec) -> None:
        """Runs one more child, for instance an agent; it is stopped before the services."""
        await self._run(spec)

    async def ready(self, service: str) -> None:
        """Waits until a service serves, for instance again after `kill`."""
        async with asyncio.timeout(START_TIMEOUT.total_seconds()):
            await serving(self.addresses[service])

    def client_environment(self) -> dict[str, str]:
        """What agents and other clients of the suite are told, so that nothing else is believed."""
        return client_environment(self.home, self._client)

    def token(
        self, *, organization: str = LOCAL_ORGANIZATION, scopes: tuple[str, ...] = USER_SCOPES
    ) -> str:
        """A token that the suite accepts."""
        return user_token(self._keys.user, organization=organization, scopes=scopes)

    def _check_ports(self) -> None:
        problems = self.ports.problems(unused=() if self.workers else WORKER_PORTS)
        if problems and self.home.processes.exists():  # a suite that stops in good order removes it
            problems.append(
                f"{self.home.processes} names what a suite that was killed left running"
            )
        if problems:
            raise CommandError("\n".join(problems))

    async def _start_all(self) -> None:
        self._keys = make_keys(self.home.keys)
        self._client = client_document(self._keys, self.ports, self.token())
        write_json(self.home.client, self._client)
        await self._run(valkey_spec(self.home, self._keys, self.ports))
        specs = self._service_specs({})
        for service in SERVICES:
            await self._run(specs[service])
        await self._served(VALKEY, valkey_answering(valkey_url(self._keys, self.ports)))
        for service in SERVICES:
            await self._served(service, serving(self.addresses[service]))
        if self.workers:
            for name in WORKERS:
                await self._run(specs[name])
            for name, ports in WORKERS.items():
                for port in ports:
                    await self._served(name, scraped(self.ports.address(port)))

    async def _stop_all(self) -> None:
        beside = self._children.keys() - {*SERVICES, VALKEY}
        for names in (beside, SERVICES, (VALKEY,)):
            stops = (self._children[name].stop() for name in names if name in self._children)
            await asyncio.gather(*stops)
        self.home.processes.unlink(missing_ok=True)

    def _service_specs(self, environment: Mapping[str, str]) -> dict[str, ChildSpec]:
        return service_specs(
            self.home,
            self._keys,
            self.ports,
            database_url=self._database_url,
            workers=self.workers,
            log_level=self._log_level,
            overrides={**self._environment, **environment},
        )

    async def _run(self, spec: ChildSpec) -> None:
        child = Child(spec, clock=SystemClock(), log=self._log, started=self._write_processes)
        self._children[spec.name] = child
        await child.start()

    def _write_processes(self) -> None:
        running = {name: child.pid for name, child in self._children.items() if child.pid}
        write_json(self.home.processes, running)

    async def _served(self, name: str, answers: Awaitable[None]) -> None:
        """Waits until a child answers; raises CommandError when it ends or is silent instead."""
        ended = asyncio.ensure_future(self._children[name].ended())
        answered = asyncio.ensure_future(answers)
        both = (ended, answered)
        try:
            done, _ = await asyncio.wait(
                both,
                timeout=START_TIMEOUT.total_seconds(),
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            for future in both:
                future.cancel()
        if answered in done:
            answered.result()
            return
        what = ended.result() if ended in done else f"not serving after {START_TIMEOUT.seconds} s"
        tail = self._children[name].tail
        words = f"; it wrote last:\n{tail}" if tail else ""
        raise CommandError(f"{name} did not start ({what}){words}")

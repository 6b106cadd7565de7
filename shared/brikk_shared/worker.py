"""A Celery worker of a service: forked processes, each with a loop and resources of its own.

Nothing is opened before the fork: neither loop nor connection outlives one. In each process a
thread runs the loop, for as long as the process lives; the tasks that Celery hands to the process
are done on it. A pipe whose other end only the parent holds ends when the parent stops or is
killed: then the process takes on nothing more, finishes what is in flight and gives back the rest.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import warnings
from collections.abc import Awaitable, Callable, Collection, Mapping
from concurrent.futures import Future
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from threading import Thread
from typing import Any, Generic, NoReturn, TypeVar

import structlog
from billiard.process import current_process
from celery import Celery, beat, signals
from celery.exceptions import SecurityWarning

from brikk_shared import faults
from brikk_shared.celery_tasks import (
    BROKER_ERRORS,
    CeleryTasks,
    celery_app,
    full_name,
    send_hints,
)
from brikk_shared.clock import SystemClock
from brikk_shared.errors import StartError, Unavailable
from brikk_shared.logs import set_up_logs
from brikk_shared.process import Process, leave, load, settle
from brikk_shared.settings import WorkerSettings
from brikk_shared.tasks import Task, Tasks, Work, perform

S = TypeVar("S", bound=WorkerSettings)

Build = Callable[[S, Process, Tasks], Awaitable[Mapping[Task, Work]]]
"""The composition root of a process: enters resources, adds loops, and gives the work of tasks,
which may ask for other tasks."""

_PAUSE = timedelta(seconds=1)
_START_S = 60
"""How long a process may take to start."""

_log = structlog.stdlib.get_logger(__name__)


def run(settings_type: type[S], build: Build[S], tasks: Collection[Task]) -> NoReturn:
    """Be a worker until SIGTERM or SIGINT: then exit 0. Exit 2 when a setting is wrong."""
    settings = load(settings_type)
    if settings.broker_url is None:
        prefix = settings_type.model_config.get("env_prefix", "")
        leave(2, f"{prefix}BROKER_URL: a worker needs it, and the service the same one")
    set_up_logs(level=settings.log_level, form=settings.log_format)
    # It warns root of messages that run as code; ours are JSON without arguments.
    warnings.simplefilter("ignore", SecurityWarning)
    app = celery_app(settings.service, settings.broker_url)
    app.conf.update(
        worker_concurrency=len(settings.worker_http_listen),
        worker_prefetch_multiplier=1,
        worker_proc_alive_timeout=_START_S,
        beat_schedule={
            task.name: {
                "task": full_name(app, task.name),
                "schedule": task.every,
                "last_run_at": datetime.fromtimestamp(0, UTC),  # so that it is done at the start
            }
            for task in tasks
        },
    )
    parent = _Parent(settings, build, app, tasks)
    parent.work()
    sys.exit(parent.exit_code)


class _Parent(Generic[S]):
    """The process that Celery forks the others from; it talks to the broker, and beats."""

    def __init__(self, settings: S, build: Build[S], app: Celery, tasks: Collection[Task]) -> None:
        self._settings = settings
        self._build = build
        self._app = app
        self._child: _Child[S] | None = None
        self._lifeline, self._life = os.pipe()
        self.exit_code = 0
        for task in tasks:
            app.task(self._performer(task), name=full_name(app, task.name))

    def work(self) -> None:
        """Work until told to stop."""
        for each, receiver in (
            # Connected, it keeps Celery from setting up logs of its own.
            (signals.setup_logging, lambda **_: None),
            (signals.worker_process_init, self._forked),
            (signals.worker_process_shutdown, self._leaving),
            (signals.worker_ready, self._begin_to_beat),
            (signals.worker_shutting_down, self._stop),
        ):
            each.connect(receiver, weak=False)
        worker = self._app.Worker(
            without_gossip=True, without_mingle=True, without_heartbeat=True, quiet=True
        )
        worker.start()
        self.exit_code = worker.exitcode or 0

    def _performer(self, task: Task) -> Callable[[], None]:
        def perform_in_child() -> None:
            assert self._child is not None
            self._child.perform(task)

        return perform_in_child

    def _forked(self, **_: object) -> None:
        os.close(self._life)
        if self._settings.fault:
            faults.arm(self._settings.fault)
        self._child = _Child(
            self._settings,
            self._build,
            broker_url=self._app.conf.broker_url,
            listen=self._settings.worker_http_listen[current_process().index],
            lifeline=self._lifeline,
        )
        self._child.start()

    def _leaving(self, **_: object) -> None:
        if self._child is not None:
            self._child.stop()

    def _begin_to_beat(self, **_: object) -> None:
        Thread(target=self._beat, name="beat", daemon=True).start()

    def _beat(self) -> None:
        # In a thread, not in a process: that would beat on when this one is killed.
        try:
            beat.Service(self._app, scheduler_cls=_Beat).start()
        finally:
            os.kill(os.getpid(), signal.SIGTERM)  # without it nothing is done at times

    def _stop(self, **_: object) -> None:
        if self._life >= 0:
            os.close(self._life)
            self._life = -1


class _Beat(beat.Scheduler):  # type: ignore[misc]  # Celery has no types
    """Keeps its schedule in memory: at the start, everything is due."""

    producer = None  # what Celery would connect before it began, and never again

    def apply_entry(self, entry: Any, producer: None = None) -> None:  # noqa: ARG002 - Celery's
        """Send the hint of one task."""
        try:
            send_hints(self.app, [entry.name])
        except BROKER_ERRORS as error:
            _log.warning("hints_not_sent", reason=str(error))


class _Child(Generic[S]):
    """A process that does tasks."""

    def __init__(
        self, settings: S, build: Build[S], *, broker_url: str, listen: str, lifeline: int
    ) -> None:
        self._settings = settings
        self._build = build
        self._broker_url = broker_url
        self._listen = listen
        self._lifeline = lifeline
        self._parent = os.getppid()
        self._loop: Future[asyncio.AbstractEventLoop] = Future()
        self._work: asyncio.Future[tuple[Tasks, Mapping[Task, Work]]]
        self._stopping: asyncio.Event
        self._thread = Thread(target=self._run, name="tasks", daemon=True)

    def start(self) -> None:
        """Begin, right after the fork."""
        self._thread.start()

    def stop(self) -> None:
        """Finish what is in flight, and wait for that."""
        loop = self._loop.result()
        if self._thread.is_alive():
            loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()

    def perform(self, task: Task) -> None:
        """Do a task, until its end or until this process is to stop."""
        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(self._perform(task), self._loop.result()).result()

    def _run(self) -> None:
        try:
            asyncio.run(self._live())
        except StartError as error:
            _log.error("worker_not_started", reason=str(error))
        finally:
            if os.getppid() != self._parent:
                os._exit(0)  # nobody is left whom Celery could tell of the end
            if not self._stopping.is_set():
                os.kill(self._parent, signal.SIGTERM)

    async def _live(self) -> None:
        loop = asyncio.get_running_loop()
        self._stopping, self._work = asyncio.Event(), loop.create_future()
        loop.add_reader(self._lifeline, self._end_of_parent)
        self._loop.set_result(loop)
        while not self._stopping.is_set():
            try:
                await self._serve()
            except Unavailable as error:
                _log.warning("worker_not_started", reason=error.message)
                await asyncio.sleep(_PAUSE.total_seconds())

    async def _serve(self) -> None:
        async with AsyncExitStack() as resources:
            process = Process(self._settings, clock=SystemClock(), resources=resources)
            tasks = CeleryTasks(self._settings.service, self._broker_url, process.clock)
            for name, loop in tasks.loops.items():
                process.loop(name, loop)
            work = await self._build(self._settings, process, tasks)
            address = await process.begin(self._listen)
            settle()
            self._work.set_result((tasks, work))
            _log.info("working", http=address)
            await self._stopping.wait()
            await process.finish()

    def _end_of_parent(self) -> None:
        asyncio.get_running_loop().remove_reader(self._lifeline)
        self._stopping.set()

    async def _perform(self, task: Task) -> None:
        doing = asyncio.ensure_future(self._do(task))
        stopping = asyncio.ensure_future(self._stopping.wait())
        await asyncio.wait({doing, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not doing.done():
            doing.cancel()  # the next time does the rest
        await asyncio.wait({doing, stopping})
        if not doing.cancelled():
            doing.result()

    async def _do(self, task: Task) -> None:
        tasks, work = await asyncio.shield(self._work)
        if await perform(task, work[task]):
            tasks.enqueue(task)

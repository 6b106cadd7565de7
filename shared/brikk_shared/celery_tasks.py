"""Tasks that Celery workers do: a broker, Redis or Valkey, carries their names to them.

Such a message is a hint, no more: it expires, it is gone once a worker took it, and where many wait
already no more are sent, so that a broker whose workers are away does not fill up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Final

import structlog
from celery import Celery
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from brikk_shared.clock import Clock
from brikk_shared.lifecycle import Run
from brikk_shared.tasks import Task

BROKER_ERRORS: Final = (OperationalError, RedisError, OSError)

_EXPIRY: Final = timedelta(minutes=1)
_MOST_WAITING: Final = 100
_PACE: Final = timedelta(milliseconds=50)
"""How long between two messages; what is asked for meanwhile goes into one."""
_PAUSE: Final = timedelta(seconds=1)
"""How long to wait when the broker does not answer."""
_TIMEOUT_S: Final = 5

_log = structlog.stdlib.get_logger(__name__)


class CeleryTasks:
    """Asks workers for tasks.

    Args:
        service: whose workers, for instance `webhooks`.
    """

    def __init__(self, service: str, broker_url: str, clock: Clock) -> None:
        self._app = celery_app(service, broker_url)
        self._clock = clock
        self._asked: dict[Task, None] = {}
        self._news = asyncio.Event()

    @property
    def loops(self) -> Mapping[str, Run]:
        """The one that talks to the broker."""
        return {"task-hints": self._run}

    def enqueue(self, task: Task) -> None:
        """Have a worker do a task soon; not at all when none does it within a minute."""
        self._asked[task] = None
        self._news.set()

    async def _run(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            asked, self._asked = self._asked, {}
            pause = _PACE
            try:
                await asyncio.to_thread(send_hints, self._app, [task.name for task in asked])
            except BROKER_ERRORS as error:
                _log.warning("hints_not_sent", reason=str(error))
                for task in asked:
                    self.enqueue(task)
                pause = _PAUSE
            await self._clock.sleep(pause)


def celery_app(service: str, broker_url: str) -> Celery:
    """Make the app that a service and its workers share. It connects when it is first used."""
    app = Celery(f"brikk.{service}", broker=broker_url, set_as_current=False)
    app.conf.update(
        accept_content=["json"],
        task_ignore_result=True,
        task_default_queue=f"brikk-{service}",
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            "socket_timeout": _TIMEOUT_S,
            "socket_connect_timeout": _TIMEOUT_S,
            "socket_keepalive": True,
            # Of one command; whoever sends or consumes begins anew, with its own pauses.
            "max_retries": 1,
        },
        # Without it nobody can tell workers what to do but by the names of tasks.
        worker_enable_remote_control=False,
    )
    return app


def full_name(app: Celery, task: str) -> str:
    """Give the name of a task as messages carry it."""
    return f"{app.main}.{task}"


def send_hints(app: Celery, tasks: Collection[str]) -> None:
    """Ask workers for tasks by their names, unless too much waits for them already. It blocks.

    Raises:
        BROKER_ERRORS: the broker does not answer.
    """
    with app.producer_or_acquire() as producer:
        waiting = producer.channel.queue_declare(app.conf.task_default_queue).message_count
        if waiting < _MOST_WAITING:
            for task in tasks:
                app.send_task(
                    full_name(app, task),
                    expires=_EXPIRY.total_seconds(),
                    producer=producer,
                    retry=False,
                )

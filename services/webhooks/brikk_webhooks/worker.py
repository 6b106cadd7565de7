"""A Celery worker of the webhooks service: it delivers, and keeps house."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from brikk_shared.outbox import Outbox
from brikk_shared.process import Process
from brikk_shared.tasks import Task, Tasks, Work
from brikk_shared.worker import run
from brikk_webhooks.parts import open_parts
from brikk_webhooks.runtime.tasks import DRAIN, HOUSEKEEPING
from brikk_webhooks.settings import WebhooksSettings


async def build(settings: WebhooksSettings, process: Process, tasks: Tasks) -> Mapping[Task, Work]:
    """Give a process of the worker its store, its loops and its work."""
    parts = await open_parts(settings, process)
    # The service carries to others what is written here.
    told = [name for name, address in settings.told.items() if address]
    outbox = Outbox(parts.database, source=f"brikk.{settings.service}", destinations=told)
    engine = parts.engine(tasks, outbox, poll=None)
    housekeeping = parts.housekeeping(tasks, outbox, made=partial(tasks.enqueue, DRAIN))
    return {DRAIN: engine.drain, **housekeeping}


def main() -> None:
    """Be a worker until told to stop."""
    run(WebhooksSettings, build, (DRAIN, *HOUSEKEEPING))


if __name__ == "__main__":
    main()

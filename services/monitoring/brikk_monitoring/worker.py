"""A Celery worker of the monitoring service: it makes reports, and removes old alerts."""

from __future__ import annotations

from collections.abc import Mapping

from brikk_monitoring.parts import TASKS, open_stores
from brikk_monitoring.settings import MonitoringSettings
from brikk_shared.process import Process
from brikk_shared.tasks import Task, Tasks, Work
from brikk_shared.worker import run


async def build(
    settings: MonitoringSettings,
    process: Process,
    tasks: Tasks,  # noqa: ARG001 - none of these asks for another
) -> Mapping[Task, Work]:
    """Give a process of the worker its stores and its work."""
    stores = await open_stores(settings, process)
    return stores.work(settings, process)


def main() -> None:
    """Be a worker until told to stop."""
    run(MonitoringSettings, build, TASKS)


if __name__ == "__main__":
    main()

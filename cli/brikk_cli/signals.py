"""One way to run what a command does, so that every signal that ends it ends it cleanly."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """asyncio.run; SIGTERM and SIGHUP do what Ctrl-C does: cancel the work and let it clean up.

    Raises KeyboardInterrupt after any of them.
    """

    async def interruptible() -> T:
        task = asyncio.current_task()
        assert task is not None
        for signal_number in (signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(signal_number, task.cancel)
        return await work

    try:
        return asyncio.run(interruptible())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None

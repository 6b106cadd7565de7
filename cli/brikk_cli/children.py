"""Child processes: started, listened to, started again when they die, and stopped in good order."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from brikk_shared.clock import Clock

LogSink = Callable[[str, str], None]
"""Takes a child's name and one line that it wrote."""

FIRST_BACKOFF = timedelta(milliseconds=200)
LONGEST_BACKOFF = timedelta(seconds=10)
# A child that lived this long has recovered: its next death begins with the first backoff again.
RECOVERED_AFTER = timedelta(seconds=30)
STOP_GRACE = timedelta(seconds=10)

_TAIL_LINES = 20
_CHUNK = 65_536


@dataclass(frozen=True, kw_only=True, slots=True)
class ChildSpec:
    """A process to run: what it is called, its command, and what it sees beside our environment."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]


class Child:
    """A process that is kept alive from `start` to `stop`: each death is followed by a new start.

    It gets a session of its own, so that Ctrl-C in a terminal reaches us alone and we decide the
    order in which children end. `started` is called after each start.
    """

    def __init__(
        self,
        spec: ChildSpec,
        *,
        clock: Clock,
        log: LogSink,
        started: Callable[[], None] = lambda: None,
    ) -> None:
        self.spec = spec
        self._clock = clock
        self._log = log
        self._started = started
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._supervision: asyncio.Task[None] | None = None
        self._first_end: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    @property
    def pid(self) -> int | None:
        """Id of the process; None while there is none."""
        if self._process is None or self._process.returncode is not None:
            return None
        return self._process.pid

    @property
    def tail(self) -> str:
        """The last lines that it wrote, for error messages."""
        return "\n".join(self._tail)

    async def start(self) -> None:
        """Starts the process and keeps it alive from now on.

        Raises OSError when the command cannot be run.
        """
        await self._spawn()
        self._supervision = asyncio.create_task(self._supervise(), name=f"child {self.spec.name}")

    async def ended(self) -> str:
        """Waits for the first death and says how it came; a start that fails is seen here."""
        return await asyncio.shield(self._first_end)

    async def kill(self) -> None:
        """Ends the process at once, as a crash would; it is started again."""
        process = self._process
        if process is not None and process.returncode is None:
            process.kill()
            await process.wait()

    async def stop(self, grace: timedelta = STOP_GRACE) -> None:
        """Asks the process to end, and ends it when the grace has passed. Twice is fine."""
        if self._supervision is not None:
            self._supervision.cancel()
            with suppress(asyncio.CancelledError):
                await self._supervision
        if self._process is None or self._reading is None:
            return
        if self._process.returncode is None:
            self._process.terminate()
            try:
                async with asyncio.timeout(grace.total_seconds()):
                    await self._process.wait()
            except TimeoutError:
                self._log(self.spec.name, f"did not stop within {grace.total_seconds():g} s")
            finally:  # also when our own caller has run out of patience
                if self._process.returncode is None:
                    self._process.kill()
            await self._process.wait()
        await self._reading

    async def _spawn(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *self.spec.command,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **self.spec.environment},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        self._reading = asyncio.create_task(self._read(self._process.stdout))
        self._started()

    async def _supervise(self) -> None:
        backoff = FIRST_BACKOFF
        while True:
            began = self._clock.monotonic()
            how = await self._end_of_process()
            if not self._first_end.done():
                self._first_end.set_result(how)
            if self._clock.monotonic() - began >= RECOVERED_AFTER.total_seconds():
                backoff = FIRST_BACKOFF
            self._log(self.spec.name, f"{how}; starts again in {backoff.total_seconds():g} s")
            await self._clock.sleep(backoff)
            backoff = min(2 * backoff, LONGEST_BACKOFF)
            with suppress(OSError):  # counts as one more death
                await self._spawn()

    async def _end_of_process(self) -> str:
        assert self._process is not None
        assert self._reading is not None
        status = await self._process.wait()
        await self._reading
        return f"killed by {signal.Signals(-status).name}" if status < 0 else f"ended with {status}"

    async def _read(self, output: asyncio.StreamReader) -> None:
        """Hands on what the process writes, line by line; an endless line comes in pieces."""
        rest = b""
        while chunk := await output.read(_CHUNK):
            *lines, rest = (rest + chunk).split(b"\n")
            if len(rest) > _CHUNK:
                lines, rest = [*lines, rest], b""
            for line in lines:
                self._line(line)
        if rest:
            self._line(rest)

    def _line(self, line: bytes) -> None:
        text = line.decode(errors="replace").rstrip("\r")
        self._tail.append(text)
        self._log(self.spec.name, text)

"""Children over real processes: kept alive, listened to, stopped in order."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from brikk_cli.children import FIRST_BACKOFF, LONGEST_BACKOFF, RECOVERED_AFTER, Child, ChildSpec
from brikk_shared.testing import ManualClock

SAYS_ITS_ID_AND_WAITS = """
import os, signal
print(os.getpid())
signal.pause()
"""


class Lines:
    """A log sink that tests read line by line."""

    def __init__(self) -> None:
        self._lines: asyncio.Queue[str] = asyncio.Queue()

    def __call__(self, _name: str, line: str) -> None:
        self._lines.put_nowait(line)

    async def next(self) -> str:
        return await self._lines.get()

    async def number(self) -> int:
        """The next line that is a number: the id of a process that has started."""
        while not (line := await self.next()).isdigit():
            pass
        return int(line)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def lines() -> Lines:
    return Lines()


def python(code: str, **environment: str) -> ChildSpec:
    return ChildSpec(name="fake", command=[sys.executable, "-c", code], environment=environment)


@pytest.fixture
async def child(clock: ManualClock, lines: Lines) -> AsyncIterator[Child]:
    child = Child(python(SAYS_ITS_ID_AND_WAITS), clock=clock, log=lines)
    yield child
    await child.stop()


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_a_killed_child_is_started_again(
    child: Child, clock: ManualClock, lines: Lines
) -> None:
    await child.start()
    first = await lines.number()
    assert child.pid == first

    await child.kill()
    await clock.sleeping()
    assert child.pid is None
    clock.advance(FIRST_BACKOFF)

    second = await lines.number()
    assert second != first
    assert child.pid == second
    assert await child.ended() == "killed by SIGKILL"


async def test_the_wait_doubles_with_each_death_up_to_a_bound(
    clock: ManualClock, lines: Lines
) -> None:
    child = Child(python("raise SystemExit(3)"), clock=clock, log=lines)
    await child.start()
    waits = []
    for _ in range(8):
        await clock.sleeping()
        waits.append((await lines.next()).removeprefix("ended with 3; starts again in "))
        clock.advance(LONGEST_BACKOFF)
    await child.stop()
    assert waits == ["0.2 s", "0.4 s", "0.8 s", "1.6 s", "3.2 s", "6.4 s", "10 s", "10 s"]


async def test_a_child_that_lived_long_waits_as_at_first(
    child: Child, clock: ManualClock, lines: Lines
) -> None:
    await child.start()
    for _ in range(3):
        await lines.number()
        clock.advance(RECOVERED_AFTER)
        await child.kill()
        await clock.sleeping()
        assert await lines.next() == "killed by SIGKILL; starts again in 0.2 s"
        clock.advance(FIRST_BACKOFF)


async def test_both_streams_are_read_whatever_is_in_them(clock: ManualClock, lines: Lines) -> None:
    code = r"""
import sys
sys.stdout.buffer.write(b"caf\xc3\xa9\r\n\xff\n" + b"x" * 200_000 + b"\n")
sys.stdout.flush()
sys.stderr.write("err without end")
"""
    child = Child(python(code), clock=clock, log=lines)
    await child.start()
    await child.ended()
    await child.stop()
    assert await lines.next() == "café"
    assert await lines.next() == "�"
    long = ""
    while set(line := await lines.next()) == {"x"}:
        long += line
    assert len(long) == 200_000
    assert line == "err without end"
    assert child.tail.endswith("err without end")


async def test_a_child_sees_its_environment_beside_ours(clock: ManualClock, lines: Lines) -> None:
    code = "import os; print(os.environ['BRIKK_X'], 'PATH' in os.environ)"
    child = Child(python(code, BRIKK_X="given"), clock=clock, log=lines)
    await child.start()
    assert await lines.next() == "given True"
    await child.stop()


async def test_a_child_has_its_own_session(child: Child, lines: Lines) -> None:
    """Ctrl-C in a terminal goes to the session in front, and must not reach children."""
    await child.start()
    assert os.getsid(await lines.number()) != os.getsid(0)


async def test_stop_lets_a_child_finish_and_hears_its_last_words(
    clock: ManualClock, lines: Lines
) -> None:
    code = """
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(print("bye")))
print("up")
signal.pause()
"""
    child = Child(python(code), clock=clock, log=lines)
    await child.start()
    assert await lines.next() == "up"
    await child.stop()
    assert await lines.next() == "bye"
    assert child.pid is None


async def test_stop_kills_a_child_that_does_not_end(clock: ManualClock, lines: Lines) -> None:
    code = """
import os, signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(os.getpid())
while True: signal.pause()
"""
    child = Child(python(code), clock=clock, log=lines)
    await child.start()
    pid = await lines.number()
    await child.stop(grace=timedelta(milliseconds=10))
    assert not is_alive(pid)
    assert await lines.next() == "did not stop within 0.01 s"


async def test_an_impatient_stop_leaves_no_process(clock: ManualClock, lines: Lines) -> None:
    code = """
import os, signal
signal.signal(signal.SIGTERM, lambda *_: print("asked"))
print(os.getpid())
while True: signal.pause()
"""
    child = Child(python(code), clock=clock, log=lines)
    await child.start()
    pid = await lines.number()
    stopping = asyncio.create_task(child.stop())
    assert await lines.next() == "asked"
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    await child.stop()
    assert not is_alive(pid)


async def test_stop_before_start_and_twice_is_fine(child: Child, lines: Lines) -> None:
    await child.stop()
    await child.start()
    await lines.number()
    await child.stop()
    await child.stop()
    assert child.pid is None


async def test_stop_between_death_and_restart_starts_nothing(
    child: Child, clock: ManualClock, lines: Lines
) -> None:
    await child.start()
    os.kill(await lines.number(), signal.SIGTERM)
    await clock.sleeping()
    await child.stop()
    clock.advance(LONGEST_BACKOFF)
    assert child.pid is None


async def test_each_start_is_told(clock: ManualClock, lines: Lines) -> None:
    pids: list[int | None] = []
    told = Child(
        python(SAYS_ITS_ID_AND_WAITS),
        clock=clock,
        log=lines,
        started=lambda: pids.append(told.pid),
    )
    await told.start()
    await lines.number()
    await told.kill()
    await clock.sleeping()
    clock.advance(FIRST_BACKOFF)
    await lines.number()
    await told.stop()
    assert len(pids) == 2
    assert None not in pids


async def test_a_command_that_does_not_exist_is_an_error_at_once(
    clock: ManualClock, lines: Lines
) -> None:
    spec = ChildSpec(name="fake", command=["/does/not/exist"], environment={})
    with pytest.raises(FileNotFoundError):
        await Child(spec, clock=clock, log=lines).start()

"""The time of a store is told by whoever heard it, whatever the clock of the machine says."""

from __future__ import annotations

from datetime import timedelta

from brikk_shared.clock import StoreClock
from brikk_shared.testing import ManualClock

HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)


def test_before_it_hears_it_tells_the_time_of_the_machine() -> None:
    machine = ManualClock()
    clock = StoreClock(machine)
    machine.advance(SECOND)
    assert clock.now() == machine.now()


def test_it_goes_on_from_what_it_heard_though_the_machine_is_set() -> None:
    machine = ManualClock()
    clock = StoreClock(machine)
    heard = machine.now() - HOUR
    clock.hear(heard, asked=clock.monotonic())
    machine.jump(2 * HOUR)
    machine.advance(SECOND)
    assert clock.now() == heard + SECOND
    assert clock.monotonic() == machine.monotonic()


def test_the_store_told_the_time_half_way_between_question_and_answer() -> None:
    machine = ManualClock()
    clock = StoreClock(machine)
    heard = machine.now() + HOUR
    machine.advance(2 * SECOND)
    clock.hear(heard, asked=0.0)
    assert clock.now() == heard + SECOND


def test_what_fits_what_it_believes_changes_nothing() -> None:
    machine = ManualClock()
    clock = StoreClock(machine)
    believed = machine.now() + 2 * SECOND
    machine.advance(2 * SECOND)
    for heard in (believed, believed - 2 * SECOND):
        clock.hear(heard, asked=0.0)
        assert clock.now() == believed
    clock.hear(believed - 3 * SECOND, asked=0.0)
    assert clock.now() == believed - 2 * SECOND

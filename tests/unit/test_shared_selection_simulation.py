"""What choosing well is worth, where another policy does most harm: agents that fail at once."""

from __future__ import annotations

from functools import partial

from bench.selection import CALLERS, HOLE
from bench.simulation import Result, Simulation


def run(callers: str) -> Result:
    return Simulation(partial(CALLERS[callers], seed=1), illness=HOLE, shares=False, seed=1).run()


def test_an_agent_that_fails_at_once_draws_no_calls() -> None:
    best, plain = run("best"), run("least in flight")
    assert plain.ill_share > 0.3
    assert best.ill_share < 0.02
    assert best.successes / best.calls > plain.successes / plain.calls + 0.1
    assert best.calls_to_leave is not None
    assert best.calls_to_return is not None

"""What calls taught is reported once, and kept in bounds."""

from __future__ import annotations

from datetime import timedelta
from random import Random

from brikk_shared.selection import Group, Option, OutcomeSum, Selector, outcomes, selector
from brikk_shared.testing import ManualClock


def new_selector() -> Selector:
    return Selector(clock=ManualClock(), random=Random(1))


def settle(
    selector: Selector,
    organization: str,
    agent: str,
    *,
    succeeded: bool = True,
    seconds: float = 1.0,
    quality: float | None = None,
    capability: str = "text.summarize",
) -> None:
    selector.settle(
        organization,
        agent,
        capability,
        succeeded=succeeded,
        latency=timedelta(seconds=seconds),
        quality=quality,
    )


def test_a_sum_holds_all_calls_since_the_last_report() -> None:
    selector = new_selector()
    settle(selector, "organizations/one", "agents/a", seconds=1, quality=0.5)
    settle(selector, "organizations/one", "agents/a", seconds=2, quality=1.0)
    settle(selector, "organizations/one", "agents/a", seconds=6, succeeded=False)
    assert selector.take_outcomes() == [
        OutcomeSum(
            organization="organizations/one",
            agent="agents/a",
            capability="text.summarize",
            successes=2,
            failures=1,
            latency=timedelta(seconds=3),
            quality=0.75,
        )
    ]
    assert selector.take_outcomes() == []


def test_quality_that_nobody_judged_is_unknown() -> None:
    selector = new_selector()
    settle(selector, "organizations/one", "agents/a")
    assert selector.take_outcomes()[0].quality is None


def test_a_batch_is_of_one_organisation_and_none_waits_for_ever() -> None:
    selector = new_selector()
    for number in range(3):
        settle(selector, "organizations/one", f"agents/a{number}")
    settle(selector, "organizations/two", "agents/b")
    batches = [selector.take_outcomes(2) for _ in range(4)]
    assert [[each.agent for each in batch] for batch in batches] == [
        ["agents/a0", "agents/a1"],
        ["agents/b"],
        ["agents/a2"],
        [],
    ]


def test_sums_that_nobody_takes_are_bounded() -> None:
    sums = outcomes.Outcomes()
    for number in range(outcomes.SUMS_KEPT + 1):
        organization = "organizations/old" if number < 10 else "organizations/new"
        sums.add(organization, f"agents/a{number}", "c", succeeded=True, seconds=1.0, quality=None)
    assert sums.take(500)[0].organization == "organizations/new"


def test_who_is_not_called_for_long_is_forgotten() -> None:
    chooser = new_selector()
    for number in range(selector.EXPERIENCES_KEPT):
        settle(chooser, "organizations/one", f"agents/a{number}")
    settle(chooser, "organizations/one", "agents/a0")
    settle(chooser, "organizations/one", "agents/new")
    kept = {agent for _, _, agent in chooser._experiences}
    assert len(kept) == selector.EXPERIENCES_KEPT
    assert {"agents/a0", "agents/new"} <= kept
    assert "agents/a1" not in kept


def test_capabilities_are_bounded() -> None:
    chooser = new_selector()
    options = (Option(agent="agents/a", endpoint="a:1"),)
    for number in range(selector.CAPABILITIES_KEPT + 5):
        chooser.choose(Group("organizations/one", f"c{number}"), options)
    assert len(chooser._lineups) == len(chooser._contests) == selector.CAPABILITIES_KEPT


def test_agents_that_left_while_ejected_are_forgotten() -> None:
    clock = ManualClock()
    chooser = Selector(clock=clock, random=Random(1))
    for number in range(3):
        for _ in range(30):
            settle(chooser, "organizations/one", f"agents/a{number}", succeeded=False)
        clock.advance(timedelta(hours=1))
    (contest,) = chooser._contests.values()
    assert set(contest.ejected()) == {"agents/a2"}

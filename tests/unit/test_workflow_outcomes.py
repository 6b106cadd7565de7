"""Reports of outcomes: in batches, per organisation; what is lost is no harm."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from brikk_workflow.clients.outcomes import INTERVAL, OutcomeReports
from support.directories import Setting
from support.running import running


class Reporting(Setting):
    """The reports of a selector under test."""

    def __init__(self) -> None:
        super().__init__()
        self.reports = OutcomeReports(self.selector, self.discovery, clock=self.clock)

    def settle(
        self, agent: str, *, organization: str = "acme", succeeded: bool = True, seconds: float = 1
    ) -> None:
        latency = timedelta(seconds=seconds)
        self.selector.settle(
            organization, f"agents/{agent}", "t", succeeded=succeeded, latency=latency
        )

    async def pass_interval(self) -> None:
        await self.clock.sleeping()
        self.clock.advance(INTERVAL)
        await self.clock.sleeping()


@pytest.fixture
async def reporting() -> AsyncIterator[Reporting]:
    reporting = Reporting()
    async with running(reporting.reports.run):
        yield reporting


async def test_outcomes_are_summed_and_told_once(reporting: Reporting) -> None:
    reporting.settle("a", seconds=1)
    reporting.settle("a", seconds=4)
    reporting.settle("a", seconds=1, succeeded=False)
    await reporting.pass_interval()
    [(organization, [outcome])] = reporting.discovery.reports
    assert (organization, outcome.agent, outcome.capability) == ("acme", "agents/a", "t")
    assert (outcome.successes, outcome.failures) == (2, 1)
    assert outcome.latency.ToTimedelta() == timedelta(seconds=2)
    assert not outcome.HasField("quality")
    await reporting.pass_interval()
    assert len(reporting.discovery.reports) == 1


async def test_each_organisation_is_told_for_itself_in_batches(reporting: Reporting) -> None:
    for number in range(1200):
        reporting.settle(f"a{number}")
    reporting.settle("b", organization="other")
    await reporting.pass_interval()
    told = [(organization, len(outcomes)) for organization, outcomes in reporting.discovery.reports]
    assert sorted(told) == [("acme", 200), ("acme", 500), ("acme", 500), ("other", 1)]


async def test_a_report_that_is_lost_is_not_repeated(reporting: Reporting) -> None:
    await reporting.discovery.set_down(down=True)
    reporting.settle("a")
    await reporting.pass_interval()
    await reporting.discovery.set_down(down=False)
    reporting.settle("b")
    await reporting.pass_interval()
    [(_, outcomes)] = reporting.discovery.reports
    assert [each.agent for each in outcomes] == ["agents/b"]

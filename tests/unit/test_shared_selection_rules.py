"""Each rule by which the selector chooses, with a clock that the test moves."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from random import Random

import pytest

from brikk_shared.selection import Group, Observation, Option, Policy, Selector
from brikk_shared.selection.contest import EJECTED_FOR, RAMP
from brikk_shared.testing import ManualClock

GROUP = Group("organizations/one", "text.summarize")
EVERY_POLICY = pytest.mark.parametrize("policy", list(Policy))


class Calls:
    """Callers that choose and settle, on one clock."""

    def __init__(self, *, zone: str = "", seed: int = 1) -> None:
        self.clock = ManualClock()
        self.selector = Selector(clock=self.clock, random=Random(seed), zone=zone)

    def choose(
        self,
        options: tuple[Option, ...],
        *,
        policy: Policy = Policy.BEST,
        avoid: tuple[str, ...] = (),
        affinity: str = "",
    ) -> str:
        option = self.selector.choose(GROUP, options, policy=policy, avoid=avoid, affinity=affinity)
        assert option is not None
        return option.agent

    def settle(self, agent: str, *, succeeded: bool = True, seconds: float = 0.1) -> None:
        self.selector.settle(
            GROUP.organization,
            agent,
            GROUP.capability,
            succeeded=succeeded,
            latency=timedelta(seconds=seconds),
        )

    def eject(self, agent: str) -> None:
        for _ in range(30):
            self.settle(agent, succeeded=False)

    def count(
        self, options: tuple[Option, ...], calls: int, *, policy: Policy = Policy.BEST
    ) -> Counter[str]:
        """Chooses without ever settling, so that nothing is learned meanwhile."""
        return Counter(self.choose(options, policy=policy) for _ in range(calls))

    def pass_seconds(self, seconds: float) -> None:
        self.clock.advance(timedelta(seconds=seconds))


def agents(count: int, *, capacity: int = 8, zone: str = "") -> tuple[Option, ...]:
    return tuple(
        option(f"agents/a{number}", capacity=capacity, zone=zone) for number in range(count)
    )


def option(agent: str, *, capacity: int = 8, zone: str = "", suspect: bool = False) -> Option:
    return Option(agent=agent, endpoint=f"{agent}:1", capacity=capacity, zone=zone, suspect=suspect)


def test_nobody_is_chosen_among_none() -> None:
    assert Calls().selector.choose(GROUP, ()) is None


def test_the_faster_and_the_more_reliable_get_more_calls() -> None:
    calls, options = Calls(), agents(3)
    for _ in range(40):
        calls.settle("agents/a0", seconds=0.1)
        calls.settle("agents/a1", seconds=1.0)
        calls.settle("agents/a2", succeeded=_ % 4 != 0, seconds=0.1)
    counted = calls.count(options, 1000)
    assert counted["agents/a0"] > 950


def test_a_refusal_at_once_is_not_taken_for_speed() -> None:
    calls, options = Calls(), agents(2)
    for number in range(40):
        calls.settle("agents/a0", seconds=0.5)
        calls.settle("agents/a1", succeeded=number % 8 != 0, seconds=0.5 if number % 8 else 0.001)
    assert calls.count(options, 1000)["agents/a0"] > 950


def test_calls_in_flight_spread_over_equals() -> None:
    calls, options = Calls(), agents(4)
    for _ in range(16):
        agent = calls.choose(options)
        calls.selector.calling(GROUP.organization, agent).__enter__()
    assert set(calls.selector._in_flight.values()) <= {3, 4, 5}


def test_calls_that_ended_are_no_longer_in_flight() -> None:
    calls = Calls()
    with (
        calls.selector.calling(GROUP.organization, "agents/a0"),
        calls.selector.calling(GROUP.organization, "agents/a0"),
    ):
        assert calls.count(agents(2), 100, policy=Policy.LEAST_IN_FLIGHT)["agents/a0"] == 0
    assert calls.count(agents(2), 100, policy=Policy.LEAST_IN_FLIGHT)["agents/a0"] > 0


def test_the_cheaper_of_equals_gets_more_calls() -> None:
    cheap = Option(agent="agents/cheap", endpoint="a:1", cost_micros=100)
    dear = Option(agent="agents/dear", endpoint="b:1", cost_micros=10_000)
    assert Calls().count((dear, cheap), 1000)["agents/cheap"] > 950


def test_better_quality_gets_more_calls() -> None:
    calls, options = Calls(), agents(2)
    for agent, quality in (("agents/a0", 0.9), ("agents/a1", 0.4)):
        for _ in range(20):
            calls.selector.settle(
                GROUP.organization,
                agent,
                GROUP.capability,
                succeeded=True,
                latency=timedelta(seconds=1),
                quality=quality,
            )
    assert calls.count(options, 1000)["agents/a0"] > 950


def test_what_others_observed_counts_until_it_is_old() -> None:
    calls = Calls()
    observed = Option(
        agent="agents/poor",
        endpoint="a:1",
        observation=Observation(calls=100.0, success_rate=0.2, receive_time=0.0),
    )
    unknown = Option(agent="agents/unknown", endpoint="b:1")
    assert calls.count((observed, unknown), 1000)["agents/poor"] < 50
    for _ in range(20):
        calls.settle("agents/poor", seconds=0.5)
        calls.settle("agents/unknown", seconds=1.0)
    calls.pass_seconds(600)
    for _ in range(20):
        calls.settle("agents/poor", seconds=0.5)
        calls.settle("agents/unknown", seconds=1.0)
    assert calls.count((observed, unknown), 1000)["agents/poor"] > 950


@EVERY_POLICY
def test_an_agent_that_fails_in_a_row_is_ejected(policy: Policy) -> None:
    calls, options = Calls(), agents(4)
    calls.count(options, 10, policy=policy)
    calls.eject("agents/a2")
    assert calls.count(options, 500, policy=policy)["agents/a2"] == 0


def test_a_low_success_rate_ejects_without_failures_in_a_row() -> None:
    calls, options = Calls(), agents(4)
    for number in range(60):
        for each in options:
            calls.settle(each.agent, succeeded=each.agent != "agents/a1" or number % 3 == 0)
    assert calls.count(options, 500, policy=Policy.RANDOM)["agents/a1"] == 0


def test_an_agent_that_is_somewhat_worse_is_not_ejected() -> None:
    calls, options = Calls(), agents(4)
    for number in range(500):
        for each in options:
            calls.settle(each.agent, succeeded=each.agent != "agents/a1" or number % 5 != 0)
    assert calls.count(options, 500, policy=Policy.RANDOM)["agents/a1"] > 0


def test_where_everybody_fails_often_nobody_is_ejected_for_it() -> None:
    calls, options, random = Calls(), agents(4), Random(1)
    for _ in range(300):
        for each in options:
            calls.settle(each.agent, succeeded=random.random() < 0.3)
    counted = calls.count(options, 500, policy=Policy.RANDOM)
    assert len(counted) == 4


def test_an_ejection_ends_with_one_call_on_trial() -> None:
    calls, options = Calls(), agents(4)
    calls.eject("agents/a0")
    calls.pass_seconds(EJECTED_FOR - 1)
    assert calls.count(options, 200)["agents/a0"] == 0
    calls.pass_seconds(1)
    assert calls.choose(options) == "agents/a0"
    assert calls.count(options, 200)["agents/a0"] == 0
    calls.settle("agents/a0")
    calls.pass_seconds(RAMP)
    assert calls.count(options, 400, policy=Policy.RANDOM)["agents/a0"] > 50


def test_a_trial_of_which_nothing_is_heard_is_repeated() -> None:
    calls, options = Calls(), agents(4)
    calls.eject("agents/a0")
    calls.pass_seconds(EJECTED_FOR)
    assert calls.choose(options) == "agents/a0"
    calls.pass_seconds(60)
    assert calls.choose(options) == "agents/a0"


def test_each_ejection_lasts_longer_than_the_last() -> None:
    calls, options = Calls(), agents(4)
    calls.eject("agents/a0")
    lasted = []
    for _ in range(3):
        seconds = 0
        while calls.choose(options) != "agents/a0":
            calls.pass_seconds(1)
            seconds += 1
        lasted.append(seconds)
        calls.settle("agents/a0", succeeded=False)
        assert calls.choose(options) == "agents/a0"
        calls.settle("agents/a0", succeeded=False)
    assert lasted == [30, 60, 90]


def test_one_failed_trial_is_repeated_before_the_agent_is_ejected_again() -> None:
    calls, options = Calls(), agents(4)
    calls.eject("agents/a0")
    calls.pass_seconds(EJECTED_FOR)
    assert calls.choose(options) == "agents/a0"
    calls.settle("agents/a0", succeeded=False)
    assert calls.choose(options) == "agents/a0"
    calls.settle("agents/a0")
    calls.pass_seconds(RAMP)
    assert calls.count(options, 400, policy=Policy.RANDOM)["agents/a0"] > 50


@EVERY_POLICY
def test_when_more_than_half_are_ejected_ejection_is_ignored(policy: Policy) -> None:
    calls, options = Calls(), agents(4)
    calls.eject("agents/a0")
    calls.eject("agents/a1")
    assert set(calls.count(options, 200, policy=policy)) == {"agents/a2", "agents/a3"}
    calls.eject("agents/a2")
    assert set(calls.count(options, 400, policy=Policy.RANDOM)) == {each.agent for each in options}


def test_an_agent_called_in_spite_of_its_ejection_comes_back_by_successes() -> None:
    calls, options = Calls(), agents(2)
    calls.eject("agents/a0")
    calls.eject("agents/a1")
    for _ in range(40):
        calls.settle("agents/a0")
    assert set(calls.count(options, 100, policy=Policy.RANDOM)) == {"agents/a0"}


@EVERY_POLICY
def test_a_suspect_is_chosen_only_when_nobody_else_is_left(policy: Policy) -> None:
    calls = Calls()
    suspect, well = option("agents/suspect", suspect=True), option("agents/well")
    assert set(calls.count((suspect, well), 100, policy=policy)) == {"agents/well"}
    assert calls.choose((suspect,), policy=policy) == "agents/suspect"


@EVERY_POLICY
def test_who_is_to_be_avoided_is_chosen_only_when_nobody_else_is_there(policy: Policy) -> None:
    calls = Calls()
    suspect, well = option("agents/suspect", suspect=True), option("agents/well")
    assert calls.choose((suspect, well), policy=policy, avoid=("agents/well",)) == "agents/suspect"
    both = ("agents/well", "agents/suspect")
    assert calls.choose((suspect, well), policy=policy, avoid=both) == "agents/well"


def test_an_ejected_agent_is_preferred_to_a_suspect_and_to_one_to_be_avoided() -> None:
    calls = Calls()
    options = (*agents(2), option("agents/suspect", suspect=True))
    calls.eject("agents/a0")
    assert calls.choose(options, avoid=("agents/a1",)) == "agents/a0"


def test_round_robin_gives_each_its_turn() -> None:
    counted = Calls().count(agents(5), 50, policy=Policy.ROUND_ROBIN)
    assert set(counted.values()) == {10}


def test_least_in_flight_takes_the_roomiest_by_capacity() -> None:
    calls = Calls()
    options = (option("agents/small", capacity=2), option("agents/large", capacity=20))
    for each in options:
        calls.selector.calling(GROUP.organization, each.agent).__enter__()
    counted = calls.count(options, 100, policy=Policy.LEAST_IN_FLIGHT)
    assert set(counted) == {"agents/large"}


@pytest.mark.parametrize("policy", [Policy.BEST, Policy.RANDOM, Policy.ROUND_ROBIN])
def test_a_new_agent_grows_to_its_full_share(policy: Policy) -> None:
    calls = Calls()
    new = Option(agent="agents/new", endpoint="n:1", capacity=8, register_time=calls.clock.now())
    options = (*agents(3), new)
    counted = []
    for _ in range(4):
        counted.append(calls.count(options, 2000, policy=policy)["agents/new"])
        calls.pass_seconds(RAMP / 3)
    assert 0 < counted[0] < 100
    assert counted == sorted(counted)
    assert 350 < counted[-1] < 700


def test_when_all_are_new_all_are_chosen() -> None:
    calls = Calls()
    options = tuple(
        Option(agent=f"agents/a{number}", endpoint="n:1", register_time=calls.clock.now())
        for number in range(4)
    )
    assert len(calls.count(options, 200, policy=Policy.RANDOM)) == 4


def test_the_own_zone_comes_first() -> None:
    calls = Calls(zone="east")
    options = (*agents(3, zone="east"), option("agents/far", zone="west"))
    assert calls.count(options, 500)["agents/far"] == 0


def test_a_full_zone_spills_over() -> None:
    calls = Calls(zone="east")
    options = (option("agents/near", capacity=1, zone="east"), option("agents/far", zone="west"))
    with calls.selector.calling(GROUP.organization, "agents/near"):
        assert calls.choose(options) == "agents/far"
    assert calls.choose(options) == "agents/near"


def test_calls_leave_a_zone_as_its_agents_fail() -> None:
    calls = Calls(zone="east")
    far = tuple(option(f"agents/far{number}", zone="west") for number in range(6))
    options = (*agents(4, zone="east"), *far)
    calls.eject("agents/a0")
    assert calls.count(options, 500).total() == 500
    assert sum(calls.count(options, 500)[each.agent] for each in far) == 0
    calls.eject("agents/a1")
    calls.eject("agents/a2")
    # One of four is left: 1.4 quarters of the calls stay.
    stayed = calls.count(options, 2000)["agents/a3"]
    assert 600 < stayed < 800


def test_without_anybody_in_the_own_zone_others_serve() -> None:
    assert Calls(zone="north").choose(agents(3, zone="east")) in {each.agent for each in agents(3)}


def test_the_same_affinity_goes_to_the_same_agent() -> None:
    first, second = Calls(seed=1), Calls(seed=2, zone="east")
    options = agents(20)
    keys = [f"session-{number}" for number in range(200)]
    chosen = [first.choose(options, affinity=key) for key in keys]
    assert chosen == [second.choose(options[::-1], affinity=key) for key in keys]
    assert max(Counter(chosen).values()) < 25
    assert len(set(chosen)) == 20


def test_affinity_falls_over_when_the_agent_is_ejected_and_returns_with_it() -> None:
    calls, options = Calls(), agents(5)
    bound = calls.choose(options, affinity="session")
    calls.eject(bound)
    other = calls.choose(options, affinity="session")
    assert other != bound
    assert calls.choose(options, affinity="session", avoid=(other,)) not in {bound, other}
    calls.pass_seconds(EJECTED_FOR)
    assert calls.choose(options, affinity="session") == bound
    assert calls.choose(options, affinity="session") == other
    calls.settle(bound)
    assert calls.choose(options, affinity="session") == bound


def test_another_organisation_s_experience_does_not_count() -> None:
    calls, options = Calls(), agents(4)
    calls.eject("agents/a0")
    other = Group("organizations/two", GROUP.capability)
    chosen = {calls.selector.choose(other, options, policy=Policy.RANDOM) for _ in range(200)}
    assert chosen == set(options)


def test_filters_of_a_capability_share_its_experience() -> None:
    calls, options = Calls(), agents(4)
    calls.eject("agents/a0")
    newer = GROUP._replace(filter=">=2")
    chosen = [calls.selector.choose(newer, options, policy=Policy.RANDOM) for _ in range(200)]
    assert options[0] not in chosen

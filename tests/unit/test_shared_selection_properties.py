"""What holds for every choice, whatever the options and whatever calls taught."""

from __future__ import annotations

from datetime import timedelta
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from brikk_shared.selection import Group, Option, Policy, Selector
from brikk_shared.selection.affinity import rendezvous
from brikk_shared.selection.selector import EXPLORED
from brikk_shared.testing import ManualClock

GROUP = Group("organizations/one", "text.summarize")
NAMES = [f"agents/a{number}" for number in range(12)]

option_lists = st.lists(
    st.builds(
        Option,
        agent=st.sampled_from(NAMES),
        endpoint=st.just("a:1"),
        zone=st.sampled_from(["", "east", "west"]),
        suspect=st.booleans(),
        capacity=st.integers(0, 3),
        in_flight=st.integers(0, 5),
        cost_micros=st.sampled_from([0, 10, 1000]),
        latency=st.sampled_from([None, timedelta(0), timedelta(seconds=3)]),
    ),
    min_size=1,
    unique_by=lambda each: each.agent,
).map(tuple)
names = st.sets(st.sampled_from(NAMES))


def selector_with(*, ejected: set[str], seed: int = 1, zone: str = "") -> Selector:
    selector = Selector(clock=ManualClock(), random=Random(seed), zone=zone)
    for agent in sorted(ejected):
        for _ in range(100):
            settle(selector, agent, succeeded=False)
    return selector


def settle(selector: Selector, agent: str, *, succeeded: bool) -> None:
    selector.settle(
        GROUP.organization,
        agent,
        GROUP.capability,
        succeeded=succeeded,
        latency=timedelta(seconds=1),
    )


@given(
    options=option_lists,
    ejected=st.sets(st.sampled_from(NAMES), max_size=3),
    avoid=names,
    policy=st.sampled_from(Policy),
    affinity=st.sampled_from(["", "session"]),
    zone=st.sampled_from(["", "east", "north"]),
)
@settings(deadline=None)
def test_nobody_is_chosen_while_somebody_better_is_there(
    options: tuple[Option, ...],
    ejected: set[str],
    avoid: set[str],
    policy: Policy,
    affinity: str,
    zone: str,
) -> None:
    selector = selector_with(ejected=ejected, zone=zone)
    sound = [each for each in options if not each.suspect]
    out = [each for each in sound if each.agent in ejected]
    panic = 2 * len(out) > len(sound)

    def unfitness(each: Option) -> tuple[bool, bool, bool]:
        ignored = panic and not each.suspect
        return each.agent in avoid, each.suspect, each.agent in ejected and not ignored

    least = min(map(unfitness, options))
    if least[0]:
        # Everybody is to be avoided, and so nobody is.
        least = min((False, *unfitness(each)[1:]) for each in options)
    for _ in range(5):
        chosen = selector.choose(GROUP, options, policy=policy, avoid=avoid, affinity=affinity)
        assert chosen in options
        avoided, suspect, unfit = unfitness(chosen)
        assert (avoided and least[0], suspect, unfit) == least


@given(options=option_lists, seed=st.integers(0, 100), outcomes=st.lists(st.booleans()))
@settings(deadline=None)
def test_the_same_seed_and_the_same_past_choose_the_same(
    options: tuple[Option, ...], seed: int, outcomes: list[bool]
) -> None:
    def chosen() -> list[Option]:
        selector = selector_with(ejected=set(), seed=seed)
        found = []
        for succeeded in outcomes:
            option = selector.choose(GROUP, options)
            assert option is not None
            settle(selector, option.agent, succeeded=succeeded)
            found.append(option)
        return found

    assert chosen() == chosen()


@given(options=option_lists, gone=st.sampled_from(NAMES), key=st.text(max_size=20))
def test_affinity_moves_only_the_keys_of_an_agent_that_comes_or_goes(
    options: tuple[Option, ...], gone: str, key: str
) -> None:
    before = rendezvous(key, options)
    left = [each for each in options if each.agent != gone]
    if before.agent != gone:
        assert rendezvous(key, left) == before


def test_few_calls_explore() -> None:
    selector = selector_with(ejected=set())
    options = tuple(Option(agent=name, endpoint="a:1", capacity=8) for name in NAMES[:3])
    for _ in range(50):
        for name, seconds in zip(NAMES, (1, 50, 50), strict=False):
            selector.settle(
                GROUP.organization,
                name,
                GROUP.capability,
                succeeded=True,
                latency=timedelta(seconds=seconds),
            )
    # One more call of the good agent, so that it is the best known.
    settle(selector, NAMES[0], succeeded=True)
    calls = 20_000
    others = sum(selector.choose(GROUP, options) != options[0] for _ in range(calls))
    assert 0.01 * calls < others < 0.02 * calls
    assert 0.01 <= EXPLORED <= 0.02

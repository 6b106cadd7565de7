"""A mass loss is let happen slowly, and it ends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from brikk_discovery.domain.agent import AgentKey
from brikk_discovery.domain.health import Verdict
from brikk_discovery.domain.losses import Due, Guard, Judgement, Loss, judge

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
GUARD = Guard(share=0.3, least=10, removal=0.15, pause=10 * SECOND, hold=40 * SECOND)


def due(number: int, verdict: Verdict = Verdict.UNKNOWN, end: datetime = NOW) -> Due:
    return Due(key=AgentKey("acme", f"a{number}"), end_time=end, verdict=verdict)


def numbers(keys: list[AgentKey]) -> list[int]:
    return [int(key.agent_id[1:]) for key in keys]


def sweep(
    items: list[Due],
    *,
    agents: int,
    loss: Loss | None = None,
    silent: int | None = None,
    after: int = 0,
) -> Judgement:
    silent = len(items) if silent is None else silent
    return judge(GUARD, loss, items, agents=agents, silent=silent, now=NOW + after * SECOND)


def test_a_few_are_removed_at_once() -> None:
    nine = [due(number) for number in range(9)]
    assert len(sweep(nine, agents=9).removed) == 9  # all of a small organisation
    thirty = [due(number) for number in range(30)]
    judged = sweep(thirty, agents=100)  # not more than the share
    assert (len(judged.removed), judged.held, judged.loss) == (30, [], None)


def test_many_are_removed_slowly_and_those_who_answer_not_at_all() -> None:
    verdicts = [Verdict.UP] * 20 + [Verdict.UNKNOWN] * 20 + [Verdict.DOWN] * 10
    lost = [due(number, verdict) for number, verdict in enumerate(verdicts)]
    first = sweep(lost, agents=100)
    assert numbers(first.removed) == [*range(40, 50), *range(20, 25)]
    assert sorted(numbers(first.held)) == [*range(20), *range(25, 40)]
    left = [item for item in lost if item.key in first.held]
    second = sweep(left, agents=85, loss=first.loss, after=9)
    assert second.removed == []
    third = sweep(left, agents=85, loss=second.loss, after=10)
    assert numbers(third.removed) == [*range(25, 40)]
    # Only those who answer are left, which is less than the share by now: they stay.
    left = left[:20]
    fourth = sweep(left, agents=70, loss=third.loss, after=39)
    assert (fourth.removed, len(fourth.held)) == ([], 20)
    last = sweep(left, agents=70, loss=fourth.loss, after=40)
    assert len(last.removed) == 20
    assert sweep([], agents=50, loss=last.loss, after=41).loss is None


def test_a_loss_shows_before_all_of_it_is_due() -> None:
    lost = [due(number) for number in range(5)]
    judged = sweep(lost, agents=20, silent=20)
    assert len(judged.removed) == 3
    # It lasts while as many are silent as would begin it.
    again = sweep([], agents=17, silent=17, loss=judged.loss, after=1)
    assert again.loss == judged.loss
    assert sweep([], agents=17, silent=9, loss=again.loss, after=2).loss is None


@st.composite
def organisations(draw: st.DrawFn) -> list[tuple[int, int | None, Verdict]]:
    """Per agent: when its lease ended, after how long it was heard again, what probes say."""
    agent = st.tuples(
        st.integers(0, 60), st.none() | st.integers(0, 60), st.sampled_from(list(Verdict))
    )
    return draw(st.lists(agent, min_size=10, max_size=80))


@given(
    agents=organisations(), idle=st.integers(0, 100), steps=st.lists(st.integers(1, 15), min_size=1)
)
def test_it_never_removes_more_and_it_ends(
    agents: list[tuple[int, int | None, Verdict]], idle: int, steps: list[int]
) -> None:
    live = dict(enumerate(agents))
    loss: Loss | None = None
    removals: list[tuple[int, int]] = []
    second = at = 0
    while second <= 120:
        silent = {
            number: due(number, verdict, NOW + end * SECOND)
            for number, (end, heard, verdict) in live.items()
            if end - 15 <= second and (heard is None or second < end + heard)
        }
        ready = [item for number, item in silent.items() if live[number][0] <= second]
        total = idle + len(live)
        judged = sweep(ready, agents=total, silent=len(silent), loss=loss, after=second)
        assert sorted((*judged.removed, *judged.held)) == sorted(item.key for item in ready)
        forced = {item.key for item in ready if item.end_time + GUARD.hold <= NOW + second * SECOND}
        assert not forced & set(judged.held)
        if judged.loss is not None:
            chosen = numbers([key for key in judged.removed if key not in forced])
            assert all(live[number][2] is not Verdict.UP for number in chosen)
            removals.append((second, len(chosen)))
            recent = sum(
                count for when, count in removals if NOW + when * SECOND >= judged.loss.pause_time
            )
            assert recent <= max(int(GUARD.removal * judged.loss.agents), 1)
        else:
            assert not judged.held
            removals.clear()
        for key in judged.removed:
            del live[int(key.agent_id[1:])]
        loss = judged.loss
        second += steps[at % len(steps)]
        at += 1
    left = judge(GUARD, loss, [], agents=idle + len(live), silent=0, now=NOW + 200 * SECOND)
    assert left.loss is None
    assert all(heard is not None for _, heard, _ in live.values())

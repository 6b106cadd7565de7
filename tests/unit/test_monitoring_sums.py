"""Buckets add up to the same sums in any order and any split."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from brikk_monitoring.domain.judgement import Judgement, Outcome, Refusal, tally
from brikk_monitoring.domain.measurement import Bucket, Latency, Measurement, Status, Sums, share
from brikk_shared.errors import invalid_field

measurements = st.builds(
    Measurement,
    series=st.just(("steps",)),
    status=st.sampled_from(Status),
    value=st.one_of(st.none(), st.floats(0, 1e12)),
)


def stored(bucket: Bucket) -> dict[str, str]:
    return {name: str(number) for name, number in bucket.items()}


def bucket_of(items: list[Measurement]) -> Bucket:
    bucket: Bucket = {}
    for item in items:
        item.add_to(bucket)
    return bucket


@given(st.lists(measurements), st.lists(measurements))
def test_merged_buckets_are_the_bucket_of_all(
    some: list[Measurement], more: list[Measurement]
) -> None:
    apart, together = Sums(), Sums()
    apart.merge(stored(bucket_of(some)))
    apart.merge(stored(bucket_of(more)))
    together.merge(stored(bucket_of(more + some)))
    assert apart == together
    for status in Status:
        assert apart.of(status) == sum(item.status is status for item in some + more)
    timed = [item for item in some + more if item.value is not None]
    assert apart.latency().count == len(timed)


def test_the_mean_is_exact() -> None:
    sums = Sums()
    for duration_ms in (0.5, 1.25, 10.0):
        sums.merge(
            stored(
                bucket_of([Measurement(series=("steps",), status=Status.FAILED, value=duration_ms)])
            )
        )
    assert sums.latency().mean_ms == 11.75 / 3


def test_errors_and_amounts_add_up_beside_the_counts() -> None:
    call = Measurement(
        series=("calls",),
        status=Status.FAILED,
        value=5.0,
        reason="NO_AGENT",
        attempts=2,
        tokens=70,
        cost_micros=9,
    )
    strange = Measurement(series=("calls",), status=Status.FAILED, reason="my own", tokens=10**15)
    sums = Sums()
    sums.merge(stored(bucket_of([call, call, strange])))
    assert sums.errors == {"NO_AGENT": 2, "OTHER": 1}
    assert (sums.attempts, sums.tokens, sums.cost_micros) == (4, 10**12 + 140, 18)
    assert (sums.count, sums.measured, sums.total) == (3, 2, 10.0)


def test_nothing_counted_is_all_zero() -> None:
    assert Sums().latency() == Latency(count=0, mean_ms=0, p50_ms=0, p95_ms=0, p99_ms=0)
    assert share(0, 0) == 0
    assert share(3, 4) == 0.75


def test_a_batch_is_added_up_by_minute_and_series() -> None:
    started = Measurement(series=("executions", "executions;workflow=a"), status=Status.STARTED)
    skipped = Measurement(series=("steps",), status=Status.SKIPPED)
    assert tally(
        [
            Judgement(position=1, organization="acme", minute=7, measurements=(started, skipped)),
            Judgement(position=2, organization="acme", minute=7, measurements=(started,)),
            Judgement(position=3, organization="acme", minute=8, measurements=(started,)),
            Judgement(position=4, organization="acme"),
        ]
    ) == {
        (7, "executions"): {"started": 2},
        (7, "executions;workflow=a"): {"started": 2},
        (7, "steps"): {"skipped": 1},
        (8, "executions"): {"started": 1},
        (8, "executions;workflow=a"): {"started": 1},
    }


def test_each_item_has_one_outcome() -> None:
    started = Measurement(series=("executions",), status=Status.STARTED)
    refusal = Refusal(error=invalid_field("data", "is wrong"), event=b"")
    assert (
        Judgement(position=1, organization="a", measurements=(started,)).outcome is Outcome.COUNTED
    )
    assert Judgement(position=1, organization="a").outcome is Outcome.IGNORED
    assert Judgement(position=1, organization="a", refusal=refusal).outcome is Outcome.REFUSED

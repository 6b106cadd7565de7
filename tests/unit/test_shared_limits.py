"""Token buckets per organisation and principal, and a bound on calls under way."""

from __future__ import annotations

from datetime import timedelta

import pytest

from brikk_shared.errors import Reason, ResourceExhausted
from brikk_shared.identity import Identity
from brikk_shared.interceptors import limits as module
from brikk_shared.interceptors.limits import Limits
from brikk_shared.testing import ManualClock


def _identity(organization: str = "acme", subject: str = "users/a") -> Identity:
    return Identity(subject=subject, organization=organization, scopes=frozenset())


def _limits(clock: ManualClock, *, rate: float = 2.0, burst: int = 3) -> Limits:
    return Limits(clock, rate=rate, burst=burst, max_calls=2)


def test_a_burst_is_allowed_then_the_rate() -> None:
    clock = ManualClock()
    limits = _limits(clock)
    for _ in range(3):
        limits.spend(_identity())
    with pytest.raises(ResourceExhausted) as refused:
        limits.spend(_identity())
    assert refused.value.reason is Reason.RATE_LIMITED
    assert refused.value.metadata == {"quota": "calls_per_second"}
    assert refused.value.retry_after == timedelta(seconds=0.5)
    clock.advance(timedelta(seconds=0.5))
    limits.spend(_identity())
    with pytest.raises(ResourceExhausted):
        limits.spend(_identity())
    clock.advance(timedelta(hours=1))
    for _ in range(3):
        limits.spend(_identity())
    with pytest.raises(ResourceExhausted):
        limits.spend(_identity())


def test_principals_and_organisations_do_not_share() -> None:
    limits = _limits(ManualClock(), burst=1)
    limits.spend(_identity())
    limits.spend(_identity(subject="users/b"))
    limits.spend(_identity(organization="other"))
    with pytest.raises(ResourceExhausted):
        limits.spend(_identity())


def test_services_are_not_limited() -> None:
    limits = _limits(ManualClock(), burst=1)
    service = Identity(
        subject="services/x", organization="acme", scopes=frozenset({"internal"}), internal=True
    )
    for _ in range(10):
        limits.spend(service)


def test_the_number_of_buckets_is_bounded() -> None:
    limits = _limits(ManualClock(), burst=1)
    limits.spend(_identity())
    for number in range(module.MAX_BUCKETS):
        limits.spend(_identity(subject=f"users/{number}"))
    limits.spend(_identity())  # forgotten, so full again
    with pytest.raises(ResourceExhausted):
        limits.spend(_identity(subject=f"users/{module.MAX_BUCKETS - 1}"))


def test_calls_under_way_are_bounded() -> None:
    limits = _limits(ManualClock())
    limits.enter()
    limits.enter()
    with pytest.raises(ResourceExhausted) as refused:
        limits.enter()
    assert refused.value.metadata == {"quota": "concurrent_calls"}
    assert refused.value.retry_after is not None
    limits.leave()
    limits.enter()

"""How many streams of a kind are served at once, of one organisation and in all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import Gauge

from brikk_shared.errors import Reason, ResourceExhausted


class Seats:
    """Counts the streams under way, and refuses more than may be.

    Args:
        what: what sits there, in the plural, as its quotas are called.
        taken: told how many there are.
    """

    def __init__(self, what: str, *, per_organization: int, in_all: int, taken: Gauge) -> None:
        self._what = what
        self._per_organization = per_organization
        self._in_all = in_all
        self._taken = taken
        self._counts: Counter[str] = Counter()

    @contextmanager
    def take(self, organization: str) -> Iterator[None]:
        """Count one of an organisation in while the block runs.

        Raises:
            ResourceExhausted: QUOTA_EXCEEDED, there are as many as may be.
        """
        self._check(
            self._counts[organization], self._per_organization, f"organization_{self._what}"
        )
        self._check(self._counts.total(), self._in_all, self._what)
        self._counts[organization] += 1
        self._taken.inc()
        try:
            yield
        finally:
            self._counts[organization] -= 1
            if not self._counts[organization]:
                del self._counts[organization]
            self._taken.dec()

    def _check(self, count: int, limit: int, quota: str) -> None:
        if count >= limit:
            what = self._what.replace("_", " ")
            raise ResourceExhausted(
                Reason.QUOTA_EXCEEDED,
                f"there are {limit} {what}, which is as many as there may be",
                metadata={"quota": quota, "limit": str(limit)},
            )

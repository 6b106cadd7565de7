"""What was decided about each item of a batch, and what a batch adds up to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from brikk_monitoring.domain.measurement import Bucket, Measurement
from brikk_shared.errors import BrikkError


class Outcome(StrEnum):
    """What becomes of an item."""

    COUNTED = "counted"
    IGNORED = "ignored"
    """Its type is not counted."""
    EXPIRED = "expired"
    """No bucket that it belongs to is held any more."""
    REFUSED = "refused"
    REPEATED = "repeated"
    """It was taken before."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusal:
    """Why an event is never accepted, and the event itself, encoded, for the dead letters."""

    error: BrikkError
    event: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """What one item of a batch does to its organisation."""

    position: int
    organization: str
    minute: int = 0
    measurements: tuple[Measurement, ...] = ()
    refusal: Refusal | None = None

    @property
    def outcome(self) -> Outcome:
        """What becomes of it, as far as it is known before the store finds that it came too late.

        Only a counted or a refused item leaves something there.
        """
        if self.refusal is not None:
            return Outcome.REFUSED
        return Outcome.COUNTED if self.measurements else Outcome.IGNORED


def tally(judgements: Iterable[Judgement]) -> dict[tuple[int, str], Bucket]:
    """Add up the measurements by minute and series."""
    alike: dict[tuple[int, tuple[str, ...]], Bucket] = {}
    for judgement in judgements:
        for measurement in judgement.measurements:
            measurement.add_to(alike.setdefault((judgement.minute, measurement.series), {}))
    buckets: dict[tuple[int, str], Bucket] = {}
    for (minute, names), added in alike.items():
        for name in names:
            bucket = buckets.setdefault((minute, name), {})
            for field, number in added.items():
                bucket[field] = bucket.get(field, 0) + number
    return buckets

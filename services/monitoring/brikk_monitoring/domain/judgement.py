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
    """Its minute is no longer held."""
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
    expired: bool = False
    refusal: Refusal | None = None

    @property
    def outcome(self) -> Outcome:
        """What becomes of it. Only a counted or a refused item leaves something in the store."""
        if self.refusal is not None:
            return Outcome.REFUSED
        if self.expired:
            return Outcome.EXPIRED
        return Outcome.COUNTED if self.measurements else Outcome.IGNORED


def tally(judgements: Iterable[Judgement]) -> dict[tuple[int, str], Bucket]:
    """Add up the measurements by minute and series."""
    buckets: dict[tuple[int, str], Bucket] = {}
    for judgement in judgements:
        for measurement in judgement.measurements:
            bucket = buckets.setdefault((judgement.minute, measurement.series), {})
            measurement.add_to(bucket)
    return buckets

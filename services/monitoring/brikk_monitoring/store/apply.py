"""The call of apply.lua, the one script that writes measurements."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from importlib import resources
from typing import Final

from brikk_monitoring.domain.judgement import Judgement, tally
from brikk_monitoring.domain.measurement import Bucket, Status
from brikk_monitoring.domain.series import parse_series
from brikk_monitoring.domain.window import Resolution, Retention
from brikk_monitoring.store.keys import Keys

MARK_TTL: Final = timedelta(days=30)
"""A mark not moved for so long is of a shard that is gone."""

SERIES_TTL: Final = timedelta(days=1)
"""A series not counted for so long leaves its place to others; its buckets stay."""

DEAD_LETTER_TTL: Final = timedelta(days=7)
_DEAD_LETTERS: Final = 1000
"""Most refused events kept per organisation."""

Argument = str | bytes | int


@cache
def script() -> str:
    """Return the text of apply.lua."""
    return resources.files(__package__).joinpath("apply.lua").read_text(encoding="utf-8")


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What bounds the measurements of every organisation."""

    series_cap: int
    retention: Retention
    """Where an organisation has no policy of its own."""


def call(
    name: str,
    organization: str,
    items: Sequence[Judgement],
    limits: Limits,
    now: datetime,
    mark_ttl: timedelta = MARK_TTL,
) -> tuple[list[str], list[Argument]]:
    """Return the keys and the arguments that apply an organisation's items of a batch.

    Args:
        name: of the mark: items at or below it were applied before.
        organization: whose items they are.
        items: in ascending positions.
        limits: what bounds them.
        now: the time of day.
        mark_ttl: how long the mark is remembered.
    """
    keys = Keys(organization)
    # What an item counts as first tells when it came too late for all buckets.
    minutes = Counter(
        (item.minute, parse_series(item.measurements[0].series[0]).metric)
        for item in items
        if item.measurements
    )
    batch = {
        "first": items[0].position,
        "last": items[-1].position,
        "mark_ttl": int(mark_ttl.total_seconds()),
        "now": int(now.timestamp()),
        "prefix": keys.prefix,
        "retention": [
            int(limits.retention.of(resolution).total_seconds()) for resolution in Resolution
        ],
        "entries": [_entry(*entry) for entry in tally(items).items()],
        "minutes": [(minute, count, metric) for (minute, metric), count in minutes.items()],
        "cap": limits.series_cap,
        "series_ttl": int(SERIES_TTL.total_seconds()),
        "dead_letters": _DEAD_LETTERS,
        "dead_letter_ttl": int(DEAD_LETTER_TTL.total_seconds()),
    }
    return (
        [keys.mark(name), keys.series, keys.dead_letters, keys.retention],
        [json.dumps(batch, separators=(",", ":")), *_dead_letters(items)],
    )


def _entry(place: tuple[int, str], bucket: Bucket) -> dict[str, object]:
    minute, name = place
    series = parse_series(name)
    entry: dict[str, object] = {
        "minute": minute,
        "metric": series.metric,
        "series": name,
        "group": series.group,
        "others": series.others,
        "add": bucket,
    }
    if series.others:
        entry["others_group"] = parse_series(series.others).group
    if series.group:
        entry["count"] = _count(bucket)
    return entry


def _count(bucket: Bucket) -> int:
    return sum(bucket.get(status, 0) for status in Status)


def _dead_letters(items: Sequence[Judgement]) -> list[Argument]:
    arguments: list[Argument] = []
    for item in items:
        if item.refusal is not None:
            error = item.refusal.error
            arguments += [item.position, error.reason, error.message, item.refusal.event]
    return arguments

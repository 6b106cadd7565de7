"""The call of apply.lua, the one script that writes measurements."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from importlib import resources
from typing import Final

from brikk_monitoring.domain.judgement import Judgement, tally
from brikk_monitoring.domain.measurement import AGENT_PREFIX, OTHER_AGENTS, Bucket, Status
from brikk_monitoring.domain.window import FUTURE_ALLOWANCE, minute_of, time_to_live
from brikk_monitoring.store.keys import Keys, Shard

MARK_TTL: Final = timedelta(days=30)
"""A mark not moved for so long is of a shard that is gone."""

_DEAD_LETTER_TTL: Final = timedelta(days=7)
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
    retention: timedelta


def call(
    shard: Shard, organization: str, items: Sequence[Judgement], limits: Limits, now: datetime
) -> tuple[list[str], list[Argument]]:
    """Return the keys and the arguments that apply an organisation's items of a batch."""
    names = Keys(organization)
    keys = [names.mark(shard), names.agents, names.dead_letters]

    def number_of(key: str) -> int:
        keys.append(key)
        return len(keys)

    buckets: list[dict[str, object]] = []
    agents: list[dict[str, object]] = []
    for (minute, series), bucket in tally(items).items():
        entry: dict[str, object] = {
            "key": number_of(names.bucket(minute, series)),
            "ttl": time_to_live(minute, limits.retention, now),
            "add": bucket,
        }
        if not series.startswith(AGENT_PREFIX):
            buckets.append(entry)
            continue
        entry["agent"] = series
        entry["minute"] = minute
        entry["overflow"] = number_of(names.bucket(minute, OTHER_AGENTS))
        entry["calls"] = number_of(names.calls(minute))
        entry["count"] = _calls(bucket)
        agents.append(entry)
    newest = minute_of(int((now + FUTURE_ALLOWANCE).timestamp()))
    batch = {
        "first": items[0].position,
        "last": items[-1].position,
        "mark_ttl": int(MARK_TTL.total_seconds()),
        "buckets": buckets,
        "agents": agents,
        "agents_ttl": time_to_live(newest, limits.retention, now),
        "oldest": minute_of(int((now - limits.retention).timestamp())),
        "cap": limits.series_cap,
        "overflow": OTHER_AGENTS,
        "dead_letters": _DEAD_LETTERS,
        "dead_letter_ttl": int(_DEAD_LETTER_TTL.total_seconds()),
    }
    return keys, [json.dumps(batch, separators=(",", ":")), *_dead_letters(items)]


def _calls(bucket: Bucket) -> int:
    return sum(bucket.get(status, 0) for status in Status)


def _dead_letters(items: Sequence[Judgement]) -> list[Argument]:
    arguments: list[Argument] = []
    for item in items:
        if item.refusal is not None:
            error = item.refusal.error
            arguments += [item.position, error.reason, error.message, item.refusal.event]
    return arguments

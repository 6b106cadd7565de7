"""The names of all keys, and what lies under them. Those of an organisation share its hash tag.

    brikk:monitoring:{acme}:minute:29500321:steps;workflow=triage    hash: a series in a minute
    brikk:monitoring:{acme}:hour:491672:steps;workflow=triage        hash: the same in an hour
    brikk:monitoring:{acme}:day:20486:steps;workflow=triage          hash: the same in a day
    brikk:monitoring:{acme}:minute:29500321:rank:steps;workflow      sorted set: series of a group
                                                                     by what they counted
    brikk:monitoring:{acme}:series     sorted set: series that have a place, by when last counted
    brikk:monitoring:{acme}:retention  hash: how long what is held; the one key that never expires
    brikk:monitoring:{acme}:mark:...   number: how far a shard was applied, or that a request was
    brikk:monitoring:{acme}:dead       stream: the refused events
    brikk:monitoring:{acme}:report:...  hash: a report, for 7 days
    brikk:monitoring:{acme}:reports    sorted set: the reports by when they were ordered
    brikk:monitoring:reports           sorted set: the reports of all that are to be made
    brikk:monitoring:organizations     sorted set: who sent something, by when they last did
    brikk:monitoring:mark:...          sorted set: how far a shard was applied for all organisations

A bucket's number is its time in seconds since 1970 by its length. Its fields are described at
`domain.measurement.Bucket`, the names of series in `domain.series`.

    executions  ;workflow                 started, succeeded, failed, cancelled; duration
    steps       ;workflow  ;workflow;step succeeded, failed, skipped, retried; duration, attempts
    calls       ;agent  ;capability       succeeded, failed; latency, tokens, cost
    agents                                registered, deregistered, expired, draining,
                                          maintenance, resumed
    deliveries                            succeeded, failed, retried; latency

Each metric has its own series beside one for each value of these groups. Group by what has a group:
the members of the window's rank are its series, the busiest first. Past the cap the dimensions of a
new series are `-`, as in `steps;workflow=-;step=-`, which has all fields. Whatever happened is once
in the buckets of every resolution that still holds its time, so no window mixes resolutions.
"""

from __future__ import annotations

from dataclasses import dataclass

from brikk_monitoring.domain.window import Resolution


@dataclass(frozen=True, kw_only=True, slots=True)
class Shard:
    """One stream of events: a shard of one life (generation) of a producer's outbox."""

    producer: str
    generation: str
    number: int

    @property
    def name(self) -> str:
        """Unambiguous, because only the generation may contain a colon."""
        return f"{self.producer}:{self.generation}:{self.number}"


def shard_mark(shard: Shard) -> str:
    """Sorted set of one member; its score is the highest position applied for all organisations."""
    return f"brikk:monitoring:mark:{shard.name}"


ORGANIZATIONS = "brikk:monitoring:organizations"
"""Sorted set: the organisations that something came from, by when that was in seconds since 1970.
"""

PENDING_REPORTS = "brikk:monitoring:reports"
"""Sorted set: the reports of all organisations that are to be made, by when they were ordered."""


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one organisation."""

    organization: str

    @property
    def prefix(self) -> str:
        """What all of them begin with."""
        return f"brikk:monitoring:{{{self.organization}}}"

    def mark(self, name: str) -> str:
        """Number: the highest position of the shard of this name that was applied."""
        return f"{self.prefix}:mark:{name}"

    @property
    def series(self) -> str:
        """Sorted set: the series that have a place under the cap, by when they were last counted.

        The scores are seconds since 1970.
        """
        return f"{self.prefix}:series"

    @property
    def retention(self) -> str:
        """Hash: seconds that minutes, hours and days are held, by metric or for `default`."""
        return f"{self.prefix}:retention"

    @property
    def reports(self) -> str:
        """Sorted set: the reports, by when they were ordered in seconds since 1970."""
        return f"{self.prefix}:reports"

    def report(self, report_id: str) -> str:
        """Hash: a report."""
        return f"{self.prefix}:report:{report_id}"

    @property
    def dead_letters(self) -> str:
        """Stream: the refused events, newest kept."""
        return f"{self.prefix}:dead"

    def bucket(self, resolution: Resolution, number: int, series: str) -> str:
        """Hash: what a series counted in a bucket of time."""
        return f"{self.prefix}:{resolution}:{number}:{series}"

    def rank(self, resolution: Resolution, number: int, group: str) -> str:
        """Sorted set: the series of a group in a bucket of time, by what they counted."""
        return f"{self.prefix}:{resolution}:{number}:rank:{group}"

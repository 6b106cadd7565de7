"""The names of all keys. Those of an organisation carry its hash tag, so they share a server."""

from __future__ import annotations

from dataclasses import dataclass


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


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one organisation."""

    organization: str

    def mark(self, shard: Shard) -> str:
        """Number: highest position of the shard that was applied for this organisation."""
        return f"{self._prefix}:mark:{shard.name}"

    @property
    def agents(self) -> str:
        """Sorted set: the agents that have a series, by the last minute they were counted in."""
        return f"{self._prefix}:agents"

    @property
    def dead_letters(self) -> str:
        """Stream: the refused events, newest kept."""
        return f"{self._prefix}:dead"

    def bucket(self, minute: int, series: str) -> str:
        """Hash: what a series counted in a minute."""
        return f"{self._prefix}:minute:{minute}:{series}"

    def calls(self, minute: int) -> str:
        """Sorted set: the agents called in a minute, by their calls; it gives their order."""
        return f"{self._prefix}:calls:{minute}"

    @property
    def _prefix(self) -> str:
        return f"brikk:monitoring:{{{self.organization}}}"

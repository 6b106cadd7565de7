"""What there is to tell watchers, and what they know after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Generic, TypeAlias, TypeVar

from brikk_discovery.runtime.journal import Change

C = TypeVar("C")


class Cause(StrEnum):
    """Why a watcher must begin anew."""

    OTHER_REGISTRY = "other_registry"
    AHEAD = "ahead"
    FORGOTTEN = "forgotten"
    TOO_MUCH = "too_much"

    @property
    def words(self) -> str:
        """The cause for people."""
        return _WORDS[self]


_WORDS: Final = {
    Cause.OTHER_REGISTRY: "the resume token is of another registry, which this one replaced",
    Cause.AHEAD: "the registry went back to before the resume token",
    Cause.FORGOTTEN: "what changed since is not known any more",
    Cause.TOO_MUCH: "too much changed since to tell it piece by piece",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot(Generic[C]):
    """Candidates as they stand; the complete one is the last part."""

    candidates: Sequence[C]
    complete: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Changes(Generic[C]):
    """Candidates as they stand after changes, and those that are offered no more."""

    upserted: Sequence[C]
    removed: Sequence[Change]


@dataclass(frozen=True, slots=True)
class Bookmark:
    """Nothing changed."""


@dataclass(frozen=True, slots=True)
class Resync:
    """The watcher must begin anew: a snapshot follows."""

    cause: Cause


@dataclass(frozen=True, kw_only=True, slots=True)
class Observations(Generic[C]):
    """Candidates whose calls lately went noticeably otherwise than was told before."""

    candidates: Sequence[C]


News: TypeAlias = Snapshot[C] | Changes[C] | Bookmark | Resync | Observations[C]


@dataclass(frozen=True, kw_only=True, slots=True)
class Resume:
    """What a watcher that comes back knows: everything up to a revision of a registry."""

    epoch: str
    """The registry's history."""
    revision: int
    process: str
    """Who told it. It may know more, of what nobody else ever saw."""

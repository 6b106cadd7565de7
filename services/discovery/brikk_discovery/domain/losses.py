"""When many agents of an organisation fall silent at once, who is removed and who is held back.

So many seldom die together; more often it is the way between them and the registry that is broken.
What cannot be told apart for sure is removed slowly, and in the end it is removed all the same.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from brikk_discovery.domain.agent import AgentKey
from brikk_discovery.domain.health import Verdict


@dataclass(frozen=True, kw_only=True, slots=True)
class Guard:
    """What counts as a mass loss, and how much of it is let happen."""

    share: float
    """More than this share of an organisation's agents must be silent."""
    least: int
    """At least so many agents must be silent."""
    removal: float
    """The share of an organisation's agents that is removed at most in one pause; one at least."""
    pause: timedelta
    """Time for those who live to be heard, before more of them are removed."""
    hold: timedelta
    """How long after the end of its lease an agent is held back at most."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Due:
    """An agent whose lease has ended."""

    key: AgentKey
    end_time: datetime
    verdict: Verdict


@dataclass(frozen=True, kw_only=True, slots=True)
class Loss:
    """A mass loss under way in an organisation."""

    agents: int
    """How many it had when it began: what the shares are of, although there are fewer by now."""
    pause_time: datetime
    """When the pause under way began."""
    removed: int = 0
    """How many were removed in that pause."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """What becomes of an organisation's agents whose leases have ended."""

    removed: list[AgentKey]
    held: list[AgentKey]
    loss: Loss | None
    """The mass loss that is under way; None when there is none, or it is over."""


def judge(
    guard: Guard,
    loss: Loss | None,
    due: Collection[Due],
    *,
    agents: int,
    silent: int,
    now: datetime,
) -> Judgement:
    """Judge those of one organisation whose leases have ended.

    In a mass loss those who answer probes are held back, and of the others no more than a share is
    removed in a pause: first those who were shown to be down. Nobody is held longer than
    `guard.hold`.

    Args:
        loss: the one that was under way after the last sweep.
        agents: how many the organisation has, the silent ones included.
        silent: how many have not been heard long enough to be suspect; those due are among them.
    """
    if loss is None and silent >= guard.least and silent > guard.share * agents:
        loss = Loss(agents=agents, pause_time=now)
    if loss is None or (silent < guard.least and not due):
        return Judgement(removed=[item.key for item in due], held=[], loss=None)
    # Time may have been set back; then a pause begins anew.
    if not timedelta(0) <= now - loss.pause_time < guard.pause:
        loss = Loss(agents=loss.agents, pause_time=now)
    over = [item for item in due if item.end_time + guard.hold <= now]
    held = [item for item in due if item.end_time + guard.hold > now]
    held.sort(key=_removal_order)
    room = max(int(guard.removal * loss.agents), 1) - loss.removed
    gone = [item for item in held if item.verdict is not Verdict.UP][: max(room, 0)]
    kept = {item.key for item in held} - {item.key for item in gone}
    return Judgement(
        removed=[item.key for item in (*over, *gone)],
        held=[item.key for item in held if item.key in kept],
        loss=Loss(agents=loss.agents, pause_time=loss.pause_time, removed=loss.removed + len(gone)),
    )


def _removal_order(due: Due) -> tuple[bool, datetime]:
    return due.verdict is not Verdict.DOWN, due.end_time

"""Alerts that are told of together: what each channel is told when the time of a group has come."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final
from zlib import crc32

from brikk_monitoring.domain.escalation import Escalation, EscalationPolicy
from brikk_monitoring.domain.muting import Withheld
from brikk_monitoring.domain.route import Destination

SHARDS: Final = 4
"""Each is told of by one replica at a time."""


def shard_of(organization: str) -> int:
    """Return the shard whose holder tells the people of an organisation."""
    return crc32(organization.encode()) % SHARDS


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """An alert of a group, as it is when the group's time has come."""

    alert_id: str
    fires: bool
    answered: bool = False
    """Somebody looks after it, or wants to be left alone for a while."""
    acknowledged_at: datetime | None = None
    muted: str = ""
    """Why nobody is told of it; empty when people are."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """What a channel was last told of a group."""

    firing: frozenset[str]
    at: datetime
    level: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """Alerts of one route with the same group labels."""

    uid: str
    organization: str
    route: str
    labels: Mapping[str, str]
    due_at: datetime
    told: Mapping[str, Told] = field(default_factory=dict)
    """By channel."""
    withheld: Mapping[str, str] = field(default_factory=dict)
    """Alerts that nobody was told of last time, and why."""
    escalation: Escalation | None = None
    sequence: int = 0
    """Counts the times that there was something to tell or to withhold."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Notice:
    """What a channel is told, or, with a reason, is not; no channel when none is."""

    channel: str
    level: int = 0
    firing: tuple[str, ...] = ()
    resolved: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Terms:
    """How a group is told of by now."""

    destination: Destination
    policy: EscalationPolicy | None
    """That of the destination, if it has one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Flushed:
    """A group after its time had come, None when it has ended, and what there is to tell."""

    group: Group | None
    notices: Sequence[Notice]


def flush(group: Group, terms: Terms, members: Sequence[Member], now: datetime) -> Flushed:
    """Decide what the channels of a group are told.

    A channel is told when something new fires, when something that it was told of is resolved, when
    its level has its turn, and of the same again after the repeat interval unless all is answered.
    """
    policy = terms.policy if group.escalation is None else group.escalation.policy
    opens = now if policy is None else policy.opens(now)
    if opens > now:
        members = [replace(each, muted=each.muted or Withheld.OUTSIDE_HOURS) for each in members]
    escalation, summoned = _escalate(group, terms, members, now)
    told, notices = _tell(group, terms, members, _listening(terms, escalation), summoned, now)
    fires = any(each.fires for each in members)
    if not fires and not any(each.firing for each in told.values()):
        return Flushed(group=None, notices=notices)
    withheld = {each.alert_id: each.muted for each in members if each.fires and each.muted}
    notices += _noted(group, withheld)
    due_at = opens
    if opens == now:
        later = now + terms.destination.group_interval
        due_at = min([later, *(turn for turn in _turns(terms, escalation, members) if turn > now)])
    return Flushed(
        group=replace(
            group,
            due_at=due_at,
            told=told,
            withheld=withheld,
            escalation=escalation,
            sequence=group.sequence + bool(notices),
        ),
        notices=notices,
    )


def _escalate(
    group: Group, terms: Terms, members: Sequence[Member], now: datetime
) -> tuple[Escalation | None, Sequence[str]]:
    """Return how far the policy has got, and the channels whose turn it is."""
    waiting = [each for each in members if each.fires and not each.answered]
    escalation = group.escalation
    if escalation is None and terms.policy is not None:
        escalation = Escalation(policy=terms.policy)
    if not waiting or escalation is None:
        return None, ()  # what comes later begins anew
    if all(each.muted for each in waiting):
        return group.escalation, ()
    if escalation.steps and (escalation.due_at is None or now < escalation.due_at):
        return escalation, ()
    escalation = escalation.stepped(now)
    return escalation, escalation.policy.levels[escalation.level - 1].channels


def _listening(terms: Terms, escalation: Escalation | None) -> Mapping[str, int]:
    """Return the channels that are told of what fires, with the levels at which they were."""
    if escalation is None:
        return dict.fromkeys(terms.destination.channels, 0)
    found: dict[str, int] = {}
    for number, level in enumerate(escalation.told, start=1):
        for channel in level.channels:
            found.setdefault(channel, number)
    if escalation.steps:
        # In a later loop they are told again.
        level = escalation.policy.levels[escalation.level - 1]
        found |= dict.fromkeys(level.channels, escalation.level)
    return found


def _tell(
    group: Group,
    terms: Terms,
    members: Sequence[Member],
    listening: Mapping[str, int],
    summoned: Sequence[str],
    now: datetime,
) -> tuple[dict[str, Told], list[Notice]]:
    """Return what the channels have been told afterwards, and what they are told now."""
    firing = frozenset(each.alert_id for each in members if each.fires and not each.muted)
    gone = frozenset(each.alert_id for each in members if not each.fires and not each.muted)
    kept = frozenset(each.alert_id for each in members if each.muted)
    answered = all(each.answered for each in members if each.fires and not each.muted)
    told: dict[str, Told] = {}
    notices: list[Notice] = []
    for channel in sorted({*listening, *group.told}):
        before = group.told.get(channel)
        heard = frozenset() if before is None else before.firing
        resolved = heard & gone
        level = listening.get(channel, 0 if before is None else before.level)
        current = firing if channel in listening else firing & heard
        again = (
            before is not None
            and not answered
            and now - before.at >= terms.destination.repeat_interval
        )
        news = (
            channel in listening
            and bool(current)
            and (channel in summoned or not current <= heard or again)
        )
        if news or resolved:
            told[channel] = Told(firing=current | heard & kept, at=now, level=level)
            notices.append(
                Notice(
                    channel=channel,
                    level=level,
                    firing=tuple(sorted(current)),
                    resolved=tuple(sorted(resolved)),
                )
            )
        elif before is not None:
            told[channel] = replace(before, firing=heard & (firing | kept))
    return told, notices


def _noted(group: Group, withheld: Mapping[str, str]) -> list[Notice]:
    """Return what is to be noted, once, of alerts that nobody is told of."""
    news: dict[str, list[str]] = {}
    for alert_id, reason in sorted(withheld.items()):
        if group.withheld.get(alert_id) != reason:
            news.setdefault(reason, []).append(alert_id)
    return [
        Notice(channel="", firing=tuple(alert_ids), reason=reason)
        for reason, alert_ids in news.items()
    ]


def _turns(
    terms: Terms, escalation: Escalation | None, members: Sequence[Member]
) -> Iterator[datetime]:
    """Yield when the next level has its turn, and when acknowledgements end."""
    if escalation is not None and escalation.due_at is not None:
        yield escalation.due_at
    if terms.policy is not None and terms.policy.acknowledge_timeout is not None:
        for member in members:
            if member.acknowledged_at is not None:
                yield member.acknowledged_at + terms.policy.acknowledge_timeout

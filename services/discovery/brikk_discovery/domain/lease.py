"""Who holds an agent's lease: how it begins, is kept, superseded and ended."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from brikk_discovery.domain.agent import Agent, AgentKey, Definition, Load
from brikk_shared.errors import NotFound, Reason, ResourceExhausted


@dataclass(frozen=True, kw_only=True, slots=True)
class Terms:
    """The intervals that the registry dictates."""

    heartbeat_interval: timedelta
    """How long an agent waits between heartbeats."""
    suspect_after: timedelta
    """Silence after which an agent is given work only when nobody else is left."""
    expire_after: timedelta
    """Silence after which an agent is removed."""
    checkpoint_interval: timedelta
    """How long a heartbeat may lie in memory before the store knows of it."""

    @property
    def grace(self) -> timedelta:
        """How long past its end a lease is left alone: the last heartbeat may still be in memory,
        of which the store learns within one checkpoint, or two when one is under way.
        """
        return 2 * self.checkpoint_interval


@dataclass(frozen=True, kw_only=True, slots=True)
class Registration:
    """An agent instance that wants to be registered."""

    key: AgentKey
    incarnation: str
    definition: Definition


@dataclass(frozen=True, kw_only=True, slots=True)
class Removal:
    """An agent instance that leaves by itself."""

    key: AgentKey
    epoch: int


def register(
    held: Agent | None, registration: Registration, *, revision: int, now: datetime, terms: Terms
) -> Agent:
    """Give the agent as it stands after a registration that happens at a revision.

    The same incarnation keeps its lease, and its load until the next heartbeat tells more. Any
    other one supersedes what is held: its epoch is the revision, which is greater than any before,
    so not even an incarnation that was removed long ago can interfere.
    """
    if held is None or held.incarnation != registration.incarnation:
        return Agent(
            key=registration.key,
            incarnation=registration.incarnation,
            epoch=revision,
            revision=revision,
            definition=registration.definition,
            load=Load(),
            register_time=now,
            beat_time=now,
            expire_time=now + terms.expire_after,
        )
    changed = held.definition != registration.definition
    return replace(
        held,
        revision=revision if changed else held.revision,
        definition=registration.definition,
        beat_time=now,
        expire_time=now + terms.expire_after,
    )


def check_holder(held: Agent | None, removal: Removal) -> None:
    """Refuse whoever does not hold the lease. To end one that is gone harms nobody.

    Raises:
        NotFound: REREGISTER.
    """
    if held is not None and held.epoch != removal.epoch:
        raise lease_gone(removal.key)


def check_quota(count: int, limit: int) -> None:
    """Refuse an organisation's agent that would be one too many.

    Raises:
        ResourceExhausted: QUOTA_EXCEEDED.
    """
    if count > limit:
        raise ResourceExhausted(
            Reason.QUOTA_EXCEEDED,
            f"the organisation has {limit} agents, which is as many as it may",
            metadata={"quota": "agents", "limit": str(limit)},
        )


def lease_gone(key: AgentKey) -> NotFound:
    """The error that tells an agent to register again."""
    return NotFound(
        Reason.REREGISTER,
        f"the lease of {key.name} is unknown or superseded: register again",
        metadata={"agent": key.name},
    )

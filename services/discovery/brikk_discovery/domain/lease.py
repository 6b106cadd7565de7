"""Who holds an agent's lease: how it begins, is kept, superseded and ended."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from brikk_discovery.domain.agent import Agent, AgentKey, Definition, Doubt, Load
from brikk_discovery.domain.health import flaps
from brikk_discovery.domain.memory import Memory
from brikk_discovery.domain.terms import Terms
from brikk_shared.errors import FailedPrecondition, NotFound, Reason, ResourceExhausted


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


@dataclass(frozen=True, kw_only=True, slots=True)
class Beat:
    """A sign of life of an agent instance."""

    key: AgentKey
    epoch: int
    load: Load


def register(
    held: Agent | None,
    memory: Memory,
    registration: Registration,
    *,
    revision: int,
    now: datetime,
    terms: Terms,
) -> Agent:
    """Give the agent as it stands after a registration that happens at a revision.

    The same incarnation keeps its lease, and its load until the next heartbeat tells more. Any
    other one supersedes what is held, but for one that was itself superseded: two processes under
    one id would take turns for ever. The epoch of a new lease is the revision, which is greater
    than any before, so not even an incarnation that was removed long ago can interfere. An
    operator's order binds whoever comes under the id.

    Raises:
        FailedPrecondition: LEASE_SUPERSEDED.
    """
    definition = registration.definition
    if registration.incarnation in memory.superseded:
        raise lease_superseded(registration.key)
    if held is None or held.incarnation != registration.incarnation:
        already = held is not None and held.doubt is Doubt.FLAPPING
        return Agent(
            key=registration.key,
            incarnation=registration.incarnation,
            epoch=revision,
            revision=revision,
            definition=definition,
            load=Load(),
            register_time=now,
            beat_time=now,
            expire_time=now + terms.expire_after,
            doubt=Doubt.FLAPPING if flaps(memory, now, already=already) else Doubt.NONE,
            order=memory.order,
        )
    heard = replace(
        held,
        beat_time=now,
        expire_time=max(held.expire_time, now + terms.expire_after),
        doubt=_doubt_left(held, definition),
    )
    if held.definition == definition and held.doubt is heard.doubt:
        return heard
    # What it declares anew is newer than what its heartbeats told.
    return replace(
        heard, revision=revision, definition=definition, load=replace(held.load, capacity=None)
    )


def remember(held: Agent | None, memory: Memory, after: Agent) -> Memory:
    """Give what there is to remember of the id after a registration."""
    if held is None or held.incarnation == after.incarnation:
        return memory
    return memory.superseding(held.incarnation)


def _doubt_left(held: Agent, definition: Definition) -> Doubt:
    """It is heard, so it is not silent; probes of another endpoint say nothing of this one."""
    moved = held.definition.endpoint != definition.endpoint
    if held.doubt is Doubt.SILENT or (held.doubt is Doubt.UNREACHABLE and moved):
        return Doubt.NONE
    return held.doubt


def check_holder(held: Agent | None, key: AgentKey, epoch: int) -> Agent:
    """Give the agent whose lease has this epoch.

    Raises:
        NotFound: REREGISTER, the lease is gone, or from a history that the registry has lost.
        FailedPrecondition: LEASE_SUPERSEDED, a newer one is held.
    """
    if held is None or held.epoch < epoch:
        raise NotFound(
            Reason.REREGISTER,
            f"the lease of {key.name} is unknown: register again",
            metadata={"agent": key.name},
        )
    if held.epoch > epoch:
        raise lease_superseded(key)
    return held


def check_removal(held: Agent | None, removal: Removal) -> None:
    """Refuse whoever does not hold the lease. To end one that is gone harms nobody.

    Raises:
        NotFound: REREGISTER.
        FailedPrecondition: LEASE_SUPERSEDED.
    """
    if held is not None:
        check_holder(held, removal.key, removal.epoch)


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


def lease_superseded(key: AgentKey) -> FailedPrecondition:
    """The error that tells a process to stop using an id."""
    return FailedPrecondition(
        Reason.LEASE_SUPERSEDED,
        f"another process registered as {key.name} later than this one",
        metadata={"agent": key.name},
    )

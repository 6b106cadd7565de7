"""Leases: who holds one, how it is kept and superseded, who may end it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from brikk_discovery.domain.agent import (
    Agent,
    AgentKey,
    Capability,
    Definition,
    Load,
    Service,
    check,
)
from brikk_discovery.domain.lease import (
    Registration,
    Removal,
    Terms,
    check_holder,
    check_quota,
    register,
)
from brikk_shared.errors import InvalidArgument, NotFound, Reason, ResourceExhausted

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(seconds=15)
TERMS = Terms(
    heartbeat_interval=timedelta(seconds=10),
    suspect_after=timedelta(seconds=25),
    expire_after=timedelta(seconds=40),
    checkpoint_interval=timedelta(seconds=1),
)
KEY = AgentKey("acme", "writer")


def offers(*capabilities: str, endpoint: str = "127.0.0.1:9000") -> Definition:
    service = Service(
        service_id="main", capabilities=tuple(Capability(name=name) for name in capabilities)
    )
    return Definition(endpoint=endpoint, labels={}, services=(service,))


def registration(incarnation: str, *capabilities: str) -> Registration:
    return Registration(key=KEY, incarnation=incarnation, definition=offers(*capabilities))


def registered(held: Agent | None, wish: Registration, revision: int) -> Agent:
    return register(held, wish, revision=revision, now=LATER if held else NOW, terms=TERMS)


def test_a_first_registration_begins_a_lease() -> None:
    agent = registered(None, registration("one", "text.write"), 7)
    assert (agent.epoch, agent.revision) == (7, 7)
    assert agent.register_time == agent.beat_time == NOW
    assert agent.expire_time == NOW + TERMS.expire_after


def test_the_same_incarnation_keeps_its_lease_and_its_load() -> None:
    held = replace(
        registered(None, registration("one", "text.write"), 7),
        load=Load(in_flight=3, draining=True),
    )
    again = registered(held, registration("one", "text.write"), 8)
    assert (again.epoch, again.revision, again.register_time) == (7, 7, NOW)
    assert again.load == held.load
    assert again.expire_time == LATER + TERMS.expire_after


def test_the_same_incarnation_may_replace_what_it_offers() -> None:
    held = registered(None, registration("one", "text.write"), 7)
    again = registered(held, registration("one", "text.read"), 8)
    assert (again.epoch, again.revision) == (7, 8)
    assert again.definition.capability_names() == ["text.read"]


def test_another_incarnation_supersedes() -> None:
    held = replace(registered(None, registration("one", "text.write"), 7), load=Load(in_flight=3))
    newer = registered(held, registration("two", "text.write"), 8)
    assert newer.epoch == 8
    assert newer.register_time == LATER
    assert newer.load == Load()
    with pytest.raises(NotFound) as refused:
        check_holder(newer, Removal(key=KEY, epoch=held.epoch))
    assert refused.value.reason is Reason.REREGISTER
    assert refused.value.metadata == {"agent": "agents/writer"}
    check_holder(newer, Removal(key=KEY, epoch=newer.epoch))


def test_ending_a_lease_that_is_gone_is_no_error() -> None:
    check_holder(None, Removal(key=KEY, epoch=3))


def test_the_quota_names_itself() -> None:
    check_quota(5, 5)
    with pytest.raises(ResourceExhausted) as refused:
        check_quota(6, 5)
    assert refused.value.reason is Reason.QUOTA_EXCEEDED
    assert refused.value.metadata == {"quota": "agents", "limit": "5"}


def test_every_violation_of_a_definition_is_named() -> None:
    main = Service(service_id="main", capabilities=(Capability(name="a"), Capability(name="a")))
    definition = Definition(endpoint="[::1]:65536", labels={}, services=(main, main))
    with pytest.raises(InvalidArgument) as refused:
        check(definition)
    assert [violation.field for violation in refused.value.violations] == [
        "agent.endpoint",
        "agent.services[0].capabilities[1].capability",
        "agent.services[1].service_id",
        "agent.services[1].capabilities[1].capability",
    ]


def test_services_may_share_a_capability() -> None:
    one = Service(service_id="one", capabilities=(Capability(name="a"),))
    two = replace(one, service_id="two")
    definition = Definition(endpoint="localhost:1", labels={}, services=(one, two))
    check(definition)
    assert definition.capability_names() == ["a"]

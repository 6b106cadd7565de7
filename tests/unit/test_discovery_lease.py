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
    Doubt,
    Load,
    Order,
    OrderedState,
    Service,
    check,
)
from brikk_discovery.domain.lease import (
    Registration,
    Removal,
    check_holder,
    check_quota,
    check_removal,
    register,
    remember,
)
from brikk_discovery.domain.memory import NOTHING, Memory
from brikk_discovery.domain.terms import Terms
from brikk_shared.errors import (
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    Reason,
    ResourceExhausted,
)

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


def registered(
    held: Agent | None, wish: Registration, revision: int, memory: Memory = NOTHING
) -> Agent:
    now = LATER if held else NOW
    return register(held, memory, wish, revision=revision, now=now, terms=TERMS)


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


def test_a_superseded_incarnation_stays_out() -> None:
    first, memory = registered(None, registration("one"), 7), NOTHING
    second = registered(first, registration("two"), 8, memory)
    memory = remember(first, memory, second)
    with pytest.raises(FailedPrecondition) as refused:
        registered(second, registration("one"), 9, memory)
    assert refused.value.reason is Reason.LEASE_SUPERSEDED
    assert refused.value.metadata == {"agent": "agents/writer"}
    # Nor when the other one has left.
    with pytest.raises(FailedPrecondition):
        registered(None, registration("one"), 9, memory)
    assert remember(second, memory, registered(second, registration("two"), 9, memory)) == memory


def test_who_left_before_another_came_may_come_back() -> None:
    again = registered(None, registration("one"), 9, Memory())
    assert again.epoch == 9


def test_only_the_latest_superseded_are_remembered() -> None:
    memory = NOTHING
    for number in range(20):
        memory = memory.superseding(str(number))
    assert memory.superseded == tuple(str(number) for number in range(12, 20))


def test_an_order_binds_whoever_comes_under_the_id() -> None:
    order = Order(state=OrderedState.MAINTENANCE, reason="disk", by="users/ann", time=NOW)
    memory = Memory(order=order)
    first = registered(None, registration("one"), 7, memory)
    assert first.order == order
    assert registered(first, registration("one", "text.write"), 8, memory).order == order
    assert registered(first, registration("two"), 8, memory).order == order


def test_a_registration_is_a_sign_of_life_but_proves_no_more() -> None:
    held = registered(None, registration("one", "text.write"), 7)
    silent = registered(replace(held, doubt=Doubt.SILENT), registration("one", "text.write"), 8)
    assert (silent.doubt, silent.revision) == (Doubt.NONE, 8)
    unreachable = replace(held, doubt=Doubt.UNREACHABLE)
    assert registered(unreachable, registration("one"), 8).doubt is Doubt.UNREACHABLE
    elsewhere = Registration(
        key=KEY, incarnation="one", definition=offers("text.write", endpoint="127.0.0.1:9001")
    )
    assert registered(unreachable, elsewhere, 8).doubt is Doubt.NONE
    flapping = Memory(penalty=4.0, penalty_time=LATER)
    assert registered(held, registration("two"), 8, flapping).doubt is Doubt.FLAPPING
    assert registered(held, registration("two"), 8).doubt is Doubt.NONE


def test_what_is_declared_anew_is_newer_than_what_a_heartbeat_told() -> None:
    held = registered(None, registration("one", "text.write"), 7)
    told = replace(held, load=Load(in_flight=1, capacity=9))
    assert registered(told, registration("one", "text.write"), 8).capacity == 9
    again = registered(told, registration("one", "text.read"), 8)
    assert (again.capacity, again.load) == (0, Load(in_flight=1))


def test_a_promised_lease_is_never_shortened() -> None:
    held = registered(None, registration("one"), 7)
    promised = replace(held, expire_time=NOW + 8 * TERMS.expire_after)
    assert registered(promised, registration("one"), 8).expire_time == promised.expire_time


def test_a_lease_is_held_by_its_epoch() -> None:
    held = registered(None, registration("one"), 7)
    assert check_holder(held, KEY, 7) is held
    with pytest.raises(FailedPrecondition) as superseded:
        check_holder(held, KEY, 6)
    assert superseded.value.reason is Reason.LEASE_SUPERSEDED
    for known in (held, None):
        # From a history that the registry has lost; or long gone.
        with pytest.raises(NotFound) as unknown:
            check_holder(known, KEY, 8)
        assert unknown.value.reason is Reason.REREGISTER
        assert unknown.value.metadata == {"agent": "agents/writer"}


def test_only_the_holder_ends_a_lease() -> None:
    held = registered(None, registration("one"), 7)
    check_removal(held, Removal(key=KEY, epoch=7))
    check_removal(None, Removal(key=KEY, epoch=3))
    with pytest.raises(FailedPrecondition):
        check_removal(held, Removal(key=KEY, epoch=6))


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


def test_versions_of_a_capability_stand_side_by_side() -> None:
    def capabilities(*versions: str) -> Definition:
        items = tuple(Capability(name="a", version=version) for version in versions)
        return replace(offers(), services=(Service(service_id="main", capabilities=items),))

    check(capabilities("", "1.0", "2.0rc1"))
    with pytest.raises(InvalidArgument) as refused:
        check(capabilities("1.0", "1.0.0", "1..2", "2"))
    assert [violation.field for violation in refused.value.violations] == [
        "agent.services[0].capabilities[1].capability",
        "agent.services[0].capabilities[2].version",
    ]

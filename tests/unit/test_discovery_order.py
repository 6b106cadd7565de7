"""Operators' orders: which change an agent, and which say nothing new."""

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
    Order,
    OrderedState,
    Service,
)
from brikk_discovery.domain.order import Command, obey
from brikk_shared.errors import NotFound, Reason

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)
KEY = AgentKey("acme", "writer")
HELD = Agent(
    key=KEY,
    incarnation="one",
    epoch=3,
    revision=3,
    definition=Definition(
        endpoint="127.0.0.1:9000",
        labels={},
        services=(Service(service_id="main", capabilities=(Capability(name="text.write"),)),),
    ),
    load=Load(draining=True),
    register_time=NOW,
    beat_time=NOW,
    expire_time=LATER,
)


def command(state: OrderedState | None, reason: str = "disk", by: str = "users/ann") -> Command:
    return Command(key=KEY, state=state, reason=reason, by=by)


def test_an_order_is_held_with_its_reason_and_giver() -> None:
    ordered = obey(HELD, command(OrderedState.MAINTENANCE), revision=9, now=LATER)
    order = Order(state=OrderedState.MAINTENANCE, reason="disk", by="users/ann", time=LATER)
    assert ordered == replace(HELD, revision=9, order=order)


def test_an_order_that_says_nothing_new_changes_nothing() -> None:
    ordered = obey(HELD, command(OrderedState.DRAINING), revision=9, now=NOW)
    again = command(OrderedState.DRAINING, by="users/bob")
    assert obey(ordered, again, revision=10, now=LATER) is ordered
    assert obey(HELD, command(None), revision=9, now=NOW) is HELD


def test_another_reason_or_state_replaces_the_order() -> None:
    ordered = obey(HELD, command(OrderedState.DRAINING), revision=9, now=NOW)
    for other in (command(OrderedState.DRAINING, "cpu"), command(OrderedState.MAINTENANCE)):
        changed = obey(ordered, other, revision=10, now=LATER)
        assert changed.revision == 10
        assert changed.order is not None
        assert (changed.order.state, changed.order.reason) == (other.state, other.reason)


def test_to_resume_is_to_let_its_own_word_count() -> None:
    ordered = obey(HELD, command(OrderedState.MAINTENANCE), revision=9, now=NOW)
    resumed = obey(ordered, command(None, ""), revision=10, now=LATER)
    assert resumed == replace(HELD, revision=10)


def test_who_is_not_live_takes_no_orders() -> None:
    with pytest.raises(NotFound) as refused:
        obey(None, command(None), revision=9, now=NOW)
    assert refused.value.reason is Reason.RESOURCE_NOT_FOUND
    assert refused.value.metadata == {"resource": "agents/writer"}

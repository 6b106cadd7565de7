"""The index of services follows the registry: who comes, changes, drains, is doubted, leaves."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

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
)
from brikk_discovery.runtime.registry import Registry
from brikk_discovery.runtime.search import Search

NOW = datetime(2025, 1, 1, tzinfo=UTC)
ORDER = Order(state=OrderedState.MAINTENANCE, reason="", by="users/ada", time=NOW)


def agent(agent_id: str, capability: str = "text.translate", organization: str = "acme") -> Agent:
    service = Service(service_id="main", capabilities=(Capability(name=capability),))
    return Agent(
        key=AgentKey(organization, agent_id),
        incarnation="one",
        epoch=1,
        revision=1,
        definition=Definition(endpoint="127.0.0.1:9000", labels={}, services=(service,)),
        load=Load(),
        register_time=NOW,
        beat_time=NOW,
        expire_time=NOW,
    )


@pytest.fixture
def search() -> Search:
    return Search()


@pytest.fixture
def registry(search: Search) -> Registry[str]:
    registry = Registry(lambda offer: offer.agent.key.name)
    registry.subscribe(search.note)
    return registry


def found(search: Search, question: str = "translation", organization: str = "acme") -> list[str]:
    return [match.agent_id for match in search.find(organization, question, 9)]


def test_agents_come_change_and_leave(registry: Registry[str], search: Search) -> None:
    one = agent("one")
    assert found(search) == []
    registry.put(one)
    registry.put(agent("two"))
    assert found(search) == ["one", "two"]
    other = agent("one", "image.resize").definition
    registry.put(replace(one, revision=2, definition=other))
    assert (found(search), found(search, "resize")) == (["two"], ["one"])
    registry.remove(one.key, 3)
    assert found(search, "resize") == []


def test_organizations_are_apart(registry: Registry[str], search: Search) -> None:
    registry.put(agent("ours"))
    registry.put(agent("theirs", organization="globex"))
    assert (found(search), found(search, organization="globex")) == (["ours"], ["theirs"])


@pytest.mark.parametrize("unwanted", [{"order": ORDER}, {"load": Load(draining=True)}])
def test_those_who_may_get_no_work_are_not_found(
    registry: Registry[str], search: Search, unwanted: dict[str, object]
) -> None:
    one = agent("one")
    registry.put(one)
    # Another incarnation, whose own word counts from the start.
    registry.put(replace(one, revision=2, epoch=2, **unwanted))  # type: ignore[arg-type] # as named
    assert found(search) == []
    registry.put(replace(one, revision=3, epoch=3))
    assert found(search) == ["one"]


def test_suspects_come_last(registry: Registry[str], search: Search) -> None:
    first = agent("first")
    registry.put(first)
    registry.put(agent("second"))
    registry.put(replace(first, revision=2, doubt=Doubt.SILENT))
    assert found(search) == ["second", "first"]
    registry.put(replace(first, revision=3))
    assert found(search) == ["first", "second"]

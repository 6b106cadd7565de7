"""The registry in memory: what is found, in which order, against the plainest way to compute it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

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
from brikk_discovery.domain.filter import compile_filter
from brikk_discovery.domain.offer import Offer
from brikk_discovery.domain.outcome import Observation
from brikk_discovery.domain.ranking import Rank, State, rank_of, state_of
from brikk_discovery.runtime.ranking import Entry
from brikk_discovery.runtime.registry import Registry

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LEASE = timedelta(seconds=40)
Made = tuple[str, str, State, int]


def made(offer: Offer) -> Made:
    capability = offer.variant.capability
    written = f"{capability.name}={capability.version}" if capability.version else capability.name
    return offer.agent.key.agent_id, written, offer.state, offer.agent.load.in_flight


def agent(
    agent_id: str,
    *capabilities: str,
    organization: str = "acme",
    capacity: int = 0,
    epoch: int = 1,
    revision: int = 0,
    labels: dict[str, str] | None = None,
    doubt: Doubt = Doubt.NONE,
    order: Order | None = None,
    load: Load | None = None,
    time: datetime = NOW,
) -> Agent:
    """Each capability may be written with its version, as `a=1.2`; each has its own service."""
    services = tuple(
        Service(
            service_id=f"s{at}",
            capabilities=(Capability(name=name, version=version, description=f"as {written}"),),
        )
        for at, written in enumerate(capabilities)
        for name, _, version in [written.partition("=")]
    )
    return Agent(
        key=AgentKey(organization, agent_id),
        incarnation=f"{agent_id}-{epoch}",
        epoch=epoch,
        revision=revision or epoch,
        definition=Definition(
            endpoint="127.0.0.1:9000", labels=labels or {}, services=services, capacity=capacity
        ),
        load=load or Load(),
        register_time=time,
        beat_time=time,
        expire_time=time + LEASE,
        doubt=doubt,
        order=order,
    )


def beat(
    registry: Registry[Made],
    agent_id: str,
    in_flight: int = 0,
    *,
    epoch: int = 1,
    after: int = 0,
    **load: bool,
) -> Entry[Made] | None:
    time = NOW + timedelta(seconds=after)
    return registry.beat(
        AgentKey("acme", agent_id),
        epoch,
        Load(in_flight=in_flight, **load),
        beat_time=time,
        expire_time=time + LEASE,
    )


def ids(
    registry: Registry[Made], capability: str = "a", *, excluded: Collection[str] = ()
) -> list[str]:
    return [item[0] for item in registry.resolve("acme", capability, limit=20, excluded=excluded)]


@pytest.fixture
def registry() -> Registry[Made]:
    return Registry(made)


def test_the_roomiest_comes_first_and_the_busy_last(registry: Registry[Made]) -> None:
    registry.put(agent("small", "a", capacity=2))
    registry.put(agent("large", "a", capacity=8))
    registry.put(agent("silent", "a"))
    assert ids(registry) == ["large", "small", "silent"]
    beat(registry, "large", in_flight=8)
    assert ids(registry) == ["small", "silent", "large"]
    beat(registry, "large", in_flight=1)
    assert ids(registry) == ["large", "small", "silent"]


def test_draining_agents_are_never_offered_and_may_come_back(registry: Registry[Made]) -> None:
    registry.put(agent("one", "a"))
    beat(registry, "one", draining=True)
    assert ids(registry) == []
    assert registry.count(State.DRAINING) == 1
    beat(registry, "one")
    assert ids(registry) == ["one"]


def test_suspects_are_offered_when_nobody_else_is_left(registry: Registry[Made]) -> None:
    registry.put(agent("mute", "a", doubt=Doubt.SILENT))
    registry.put(agent("well", "a", labels={"tier": "gold"}))
    assert ids(registry) == ["well"]
    assert ids(registry, excluded={"well"}) == ["mute"]
    silver = compile_filter(selector="tier!=gold")
    assert registry.resolve("acme", "a", limit=9, wanted=silver) == (
        ("mute", "a", State.SUSPECT, 0),
    )
    beat(registry, "mute")
    assert ids(registry) == ["mute", "well"]


def test_who_is_heard_is_not_silent_but_may_be_doubted_for_more(registry: Registry[Made]) -> None:
    for doubt in Doubt:
        registry.put(agent(f"agent-{doubt or 'none'}", "a", doubt=doubt))
        beat(registry, f"agent-{doubt or 'none'}", after=1)
    assert registry.count(State.READY) == 2
    assert registry.count(State.SUSPECT) == 2
    # The sweep found it silent, whatever the clocks say; the next heartbeat ends that.
    registry.put(agent("agent-silent", "a", revision=2, doubt=Doubt.SILENT))
    assert registry.count(State.READY) == 1
    beat(registry, "agent-silent", after=2)
    assert registry.count(State.READY) == 2


def test_a_superseded_epoch_is_not_heard(registry: Registry[Made]) -> None:
    registry.put(agent("one", "a", epoch=1))
    registry.put(agent("one", "a", epoch=2))
    assert not beat(registry, "one", draining=True)
    assert not beat(registry, "nobody")
    assert ids(registry) == ["one"]


def test_a_late_heartbeat_of_another_replica_sets_nothing_back(registry: Registry[Made]) -> None:
    registry.put(agent("one", "a"))
    assert beat(registry, "one", 4, after=10)
    assert beat(registry, "one", 2, after=5)
    assert registry.resolve("acme", "a", limit=1) == (("one", "a", State.READY, 4),)


def test_a_replacement_keeps_the_load_of_the_last_heartbeat(registry: Registry[Made]) -> None:
    registry.put(agent("one", "a", "b"))
    beat(registry, "one", in_flight=4)
    registry.put(agent("one", "b", "c", revision=2))
    assert ids(registry, "a") == []
    assert registry.resolve("acme", "c", limit=1) == (("one", "c", State.READY, 4),)
    registry.put(agent("one", "c", epoch=3))
    assert registry.resolve("acme", "c", limit=1) == (("one", "c", State.READY, 0),)


def test_a_capacity_declared_anew_replaces_the_one_that_was_told(registry: Registry[Made]) -> None:
    key = AgentKey("acme", "one")
    registry.put(agent("one", "a", capacity=2))
    registry.beat(key, 1, Load(capacity=7), beat_time=NOW, expire_time=NOW)
    registry.put(agent("one", "a", capacity=2, revision=2, doubt=Doubt.FLAPPING))
    entry = registry.get(key)
    assert entry is not None
    assert entry.agent.capacity == 7
    registry.put(agent("one", "a", capacity=3, revision=3))
    entry = registry.get(key)
    assert entry is not None
    assert entry.agent.capacity == 3


def test_news_that_is_older_than_what_is_known_changes_nothing(registry: Registry[Made]) -> None:
    registry.put(agent("one", "a", revision=5))
    registry.put(agent("one", "b", revision=4))
    registry.remove(AgentKey("acme", "one"), 3)
    assert ids(registry, "a") == ["one"]
    registry.remove(AgentKey("acme", "one"), 6)
    registry.put(agent("one", "a", revision=5))
    assert ids(registry, "a") == []
    registry.remove(AgentKey("acme", "two"), 8)
    registry.put(agent("two", "a", revision=7))
    assert ids(registry, "a") == []
    registry.put(agent("one", "a", epoch=9))
    registry.remove(AgentKey("acme", "one"), 6)
    assert ids(registry, "a") == ["one"]
    assert registry.revision == 9
    registry.reach(12)
    registry.reach(11)
    assert registry.revision == 12


def test_of_several_versions_the_newest_that_matches_is_offered(registry: Registry[Made]) -> None:
    registry.put(agent("one", "a=1.9", "a=1.10", "a=2.0"))
    registry.put(agent("two", "a"))

    def offered(version_range: str) -> list[str]:
        wanted = compile_filter(version_range)
        return [item[1] for item in registry.resolve("acme", "a", limit=9, wanted=wanted)]

    assert offered("") == ["a=2.0", "a"]
    assert offered("<2") == ["a=1.10"]
    assert offered("<1.10") == ["a=1.9"]
    assert offered(">2") == []


def test_a_prefix_finds_every_capability_below_it(registry: Registry[Made]) -> None:
    registry.put(agent("one", "text.write", "text.read.fast", "text", capacity=1))
    registry.put(agent("two", "textual.x", "text.write", capacity=2))

    def found() -> list[tuple[str, str]]:
        return [(item[0], item[1]) for item in registry.resolve("acme", "text.*", limit=9)]

    expected = [("two", "text.write"), ("one", "text.read.fast"), ("one", "text.write")]
    assert found() == expected
    registry.put(agent("three", "text.sing", capacity=3))
    assert found() == [("three", "text.sing"), *expected]
    beat(registry, "three", 3)
    assert found() == [*expected, ("three", "text.sing")]
    registry.remove(AgentKey("acme", "two"), 9)
    assert found() == [*expected[1:], ("three", "text.sing")]
    assert len(registry.places("acme", "text.*")) == 3
    for number in range(40):
        registry.resolve("acme", f"p{number}.*", limit=1)
    assert found() == [*expected[1:], ("three", "text.sing")]


def test_the_same_question_has_the_same_answer_until_something_moves(
    registry: Registry[Made],
) -> None:
    for number in range(3):
        registry.put(agent(f"agent-{number}", "a", "b"))
    first = registry.resolve("acme", "a", limit=2)
    other = registry.resolve("acme", "b", limit=2)
    beat(registry, "agent-0", after=1)
    assert registry.resolve("acme", "a", limit=2) is first
    assert registry.resolve("acme", "a", limit=1) == first[:1]
    beat(registry, "agent-1", 1, after=1)
    assert registry.resolve("acme", "a", limit=2) is not first
    assert registry.resolve("acme", "b", limit=2) is not other
    for number in range(200):
        registry.resolve("acme", "a", limit=number + 1)
    assert len(registry.resolve("acme", "a", limit=3)) == 3


def test_a_candidate_is_made_once_for_each_change() -> None:
    offers: list[str] = []

    def count(offer: Offer) -> Made:
        offers.append(offer.agent.key.agent_id)
        return made(offer)

    registry = Registry(count)
    registry.put(agent("one", "a"))
    registry.put(agent("two", "a"))
    assert offers == []
    for limit in range(1, 9):
        registry.resolve("acme", "a", limit=limit)
    assert offers == ["one", "two"]
    beat(registry, "two", 1)
    registry.resolve("acme", "a", limit=9)
    assert offers == ["one", "two", "two"]


def test_observations_move_an_agent_at_their_capability(registry: Registry[Made]) -> None:
    registry.put(agent("bad", "a", "b", capacity=9))
    registry.put(agent("good", "a", "b", capacity=2))
    failing = Observation(calls=20, success_rate=0.2, latency=timedelta(0), quality=1)
    registry.observe(AgentKey("acme", "bad"), {"a": failing, "never.offered": failing})
    registry.observe(AgentKey("acme", "nobody"), {"a": failing})
    assert ids(registry, "a") == ["good", "bad"]
    assert ids(registry, "b") == ["bad", "good"]
    beat(registry, "bad", 1)
    assert ids(registry, "a") == ["good", "bad"]
    registry.observe(AgentKey("acme", "bad"), {"a": None})
    assert ids(registry, "a") == ["bad", "good"]
    registry.observe(AgentKey("acme", "bad"), {"a": failing})
    registry.put(agent("bad", "a", "b", capacity=9, epoch=2))
    assert ids(registry, "a") == ["bad", "good"]


def test_listeners_hear_of_what_is_offered_and_not_of_loads(registry: Registry[Made]) -> None:
    heard: list[tuple[Entry[Made] | None, Entry[Made] | None]] = []
    registry.subscribe(lambda before, after: heard.append((before, after)))
    key = AgentKey("acme", "one")

    def told() -> list[str]:
        states = ["-".join(str(side.state) if side else "" for side in pair) for pair in heard]
        heard.clear()
        return states

    registry.put(agent("one", "a", "b", capacity=2))
    assert told() == ["-ready"]
    beat(registry, "one", 1)
    beat(registry, "one", 1, after=1)
    registry.extend([key], NOW + LEASE * 2)
    seen = Observation(calls=9, success_rate=0, latency=timedelta(0), quality=1)
    registry.observe(key, {"a": seen})
    assert told() == []
    beat(registry, "one", 2, after=2)
    assert heard[0][1] is not None
    assert heard[0][1].candidates == {
        "a": ("one", "a", State.BUSY, 2),
        "b": ("one", "b", State.BUSY, 2),
    }
    assert told() == ["ready-busy"]
    beat(registry, "one", draining=True, after=3)
    assert heard[0][1] is not None
    assert heard[0][1].candidates == {}
    assert told() == ["busy-draining"]
    registry.put(agent("one", "a", capacity=2, revision=2))
    registry.put(agent("one", "a", capacity=2, revision=2))
    assert told() == ["draining-draining"]
    registry.remove(key, 3)
    registry.remove(key, 3)
    assert told() == ["draining-"]


def test_capabilities_are_summed_up(registry: Registry[Made]) -> None:
    registry.put(agent("one", "text.write=1.2", "text.write=1.10", "text.read"))
    registry.put(agent("two", "text.write=1.2", load=Load(ready=False)))
    registry.put(
        agent(
            "three",
            "text.write",
            order=Order(state=OrderedState.DRAINING, reason="", by="users/ann", time=NOW),
        )
    )
    registry.put(agent("four", "sound.play", organization="globex"))

    def page(prefix: str = "", after: str = "", size: int = 9) -> list[str]:
        found = registry.capabilities("acme", prefix=prefix, after=after, size=size)
        return [item.name for item in found]

    summary = registry.capabilities("acme", prefix="text.w", after="", size=9)[0]
    assert (summary.agents, summary.ready) == (3, 1)
    assert summary.versions == ("1.10", "1.2")
    assert summary.description == "as text.write=1.10"
    assert page() == ["text.read", "text.write"]
    assert page(after="text.read") == ["text.write"]
    assert page(size=1) == ["text.read"]
    assert page("text.x") == []
    assert registry.capabilities("nobody", prefix="", after="", size=9) == []
    registry.remove(AgentKey("acme", "one"), 9)
    summary = registry.capabilities("acme", prefix="", after="", size=9)[0]
    assert (summary.agents, summary.ready, summary.versions) == (2, 0, ("1.2",))


def test_organizations_do_not_see_each_other(registry: Registry[Made]) -> None:
    registry.put(agent("one", "a"))
    assert registry.get(AgentKey("globex", "one")) is None
    assert registry.resolve("globex", "a", limit=9) == ()
    assert registry.resolve("globex", "a.*", limit=9) == ()
    assert registry.page("globex", after="", size=9) == []
    assert registry.page("globex", after="", size=9, capability="a") == []
    assert not registry.beat(AgentKey("globex", "one"), 1, Load(), beat_time=NOW, expire_time=NOW)
    registry.remove(AgentKey("globex", "one"), 9)
    assert ids(registry) == ["one"]
    assert [entry.agent.key.agent_id for entry in registry.entries()] == ["one"]


class RegistryMachine(RuleBasedStateMachine):
    """Whatever happens in whatever order, the index answers as a plain list of agents would."""

    AGENTS = st.sampled_from([f"agent-{number}" for number in range(12)])
    OFFERS = st.sets(st.sampled_from(["a", "b=1", "b=2", "x.a", "x.b=1", "x.y.c"]), min_size=1)
    ASKED = st.sampled_from(["a", "b", "x.a", "x.*", "x.y.*", "y.*"])
    WANTED = st.sampled_from(["", "tier=gold", "tier!=gold"])

    def __init__(self) -> None:
        super().__init__()
        self.registry = Registry(made)
        self.agents: dict[str, Agent] = {}
        self.observations: dict[tuple[str, str], Observation] = {}
        self.revision = 0
        self.registry.subscribe(self.hear)
        self.heard: dict[str, tuple[int, State]] = {}

    def hear(self, before: Entry[Made] | None, after: Entry[Made] | None) -> None:
        if before is not None:
            held = self.heard.pop(before.agent.key.agent_id)
            assert held == (before.agent.revision, before.state)
        if after is not None:
            self.heard[after.agent.key.agent_id] = (after.agent.revision, after.state)

    @rule(
        agent_id=AGENTS,
        offers=OFFERS,
        capacity=st.integers(0, 3),
        gold=st.booleans(),
        doubt=st.sampled_from(Doubt),
    )
    def register(
        self, agent_id: str, offers: set[str], capacity: int, gold: bool, doubt: Doubt
    ) -> None:
        self.revision += 1
        new = agent(
            agent_id,
            *sorted(offers),
            capacity=capacity,
            epoch=self.revision,
            labels={"tier": "gold"} if gold else {},
            doubt=doubt,
        )
        self.registry.put(new)
        self.agents[agent_id] = new
        self.forget(agent_id)

    @rule(agent_id=AGENTS, offers=OFFERS, capacity=st.integers(0, 3))
    def change(self, agent_id: str, offers: set[str], capacity: int) -> None:
        if agent_id not in self.agents:
            return
        self.revision += 1
        held = self.agents[agent_id]
        definition = agent(agent_id, *sorted(offers), capacity=capacity).definition
        self.agents[agent_id] = replace(held, definition=definition, revision=self.revision)
        self.registry.put(replace(self.agents[agent_id], load=Load()))
        for key in list(self.observations):
            if key[0] == agent_id and key[1] not in definition.capability_names():
                del self.observations[key]

    @rule(agent_id=AGENTS)
    def remove(self, agent_id: str) -> None:
        self.revision += 1
        self.registry.remove(AgentKey("acme", agent_id), self.revision)
        self.agents.pop(agent_id, None)
        self.forget(agent_id)

    @rule(agent_id=AGENTS, in_flight=st.integers(0, 4), draining=st.booleans(), ready=st.booleans())
    def beat(self, agent_id: str, in_flight: int, draining: bool, ready: bool) -> None:
        load = Load(in_flight=in_flight, draining=draining, ready=ready)
        held = self.agents.get(agent_id)
        heard = self.registry.beat(
            AgentKey("acme", agent_id),
            held.epoch if held else 1,
            load,
            beat_time=NOW,
            expire_time=NOW + LEASE,
        )
        assert (heard is None) == (held is None)
        if held:
            doubt = Doubt.NONE if held.doubt is Doubt.SILENT else held.doubt
            self.agents[agent_id] = replace(held, load=load, doubt=doubt)

    @rule(
        agent_id=AGENTS, capability=st.sampled_from(["a", "x.a"]), rate=st.sampled_from([1, 0.7, 0])
    )
    def observe(self, agent_id: str, capability: str, rate: float) -> None:
        seen = Observation(calls=9, success_rate=rate, latency=timedelta(0), quality=1)
        self.registry.observe(AgentKey("acme", agent_id), {capability: seen})
        held = self.agents.get(agent_id)
        if held and capability in held.definition.capability_names():
            self.observations[agent_id, capability] = seen

    @rule(
        asked=ASKED,
        limit=st.integers(1, 12),
        excluded=st.sets(AGENTS, max_size=4),
        selector=WANTED,
        version_range=st.sampled_from(["", "<2", ">1"]),
    )
    def resolve(
        self, asked: str, limit: int, excluded: set[str], selector: str, version_range: str
    ) -> None:
        wanted = compile_filter(version_range, selector)
        ranked = sorted(
            (rank, item)
            for rank, item in self.offers(asked, selector, version_range)
            if item[0] not in excluded
        )
        live = [item for rank, item in ranked if not rank.suspect]
        expected = live or [item for _, item in ranked]
        found = self.registry.resolve("acme", asked, limit=limit, excluded=excluded, wanted=wanted)
        assert list(found) == expected[:limit]

    @rule(after=AGENTS, size=st.integers(1, 5), capability=st.sampled_from(["", "a", "b"]))
    def page(self, after: str, size: int, capability: str) -> None:
        expected = sorted(
            agent_id
            for agent_id, held in self.agents.items()
            if agent_id > after
            and (not capability or capability in held.definition.capability_names())
        )
        found = self.registry.page("acme", after=after, size=size, capability=capability)
        assert [entry.agent.key.agent_id for entry in found] == expected[:size]

    @invariant()
    def states_are_counted(self) -> None:
        for state in State:
            expected = sum(state_of(held) is state for held in self.agents.values())
            assert self.registry.count(state) == expected

    @invariant()
    def listeners_know_it_all(self) -> None:
        assert self.heard == {
            agent_id: (held.revision, state_of(held)) for agent_id, held in self.agents.items()
        }

    @invariant()
    def capabilities_are_those_offered(self) -> None:
        summaries = self.registry.capabilities("acme", prefix="", after="", size=99)
        expected = sorted(
            {name for held in self.agents.values() for name in held.definition.capability_names()}
        )
        assert [summary.name for summary in summaries] == expected
        for summary in summaries:
            offering = [
                held
                for held in self.agents.values()
                if summary.name in held.definition.capability_names()
            ]
            assert summary.agents == len(offering)
            assert summary.ready == sum(state_of(held) is State.READY for held in offering)

    def forget(self, agent_id: str) -> None:
        for key in list(self.observations):
            if key[0] == agent_id:
                del self.observations[key]

    def offers(self, asked: str, selector: str, version_range: str) -> list[tuple[Rank, Made]]:
        found: list[tuple[Rank, Made]] = []
        for agent_id, held in self.agents.items():
            gold = held.definition.labels.get("tier") == "gold"
            if selector and gold != (selector == "tier=gold"):
                continue
            for name in held.definition.capability_names():
                if name != asked and not (asked.endswith("*") and name.startswith(asked[:-1])):
                    continue
                versions = [
                    item.version
                    for service in held.definition.services
                    for item in service.capabilities
                    if item.name == name
                    and (not version_range or item.version == {"<2": "1", ">1": "2"}[version_range])
                ]
                observed = self.observations.get((agent_id, name))
                rank = rank_of(held, state_of(held), name, observed)
                if rank is not None and versions:
                    newest = max(versions)
                    written = f"{name}={newest}" if newest else name
                    item = (agent_id, written, state_of(held), held.load.in_flight)
                    found.append((rank, item))
        return found


TestRegistryMachine = RegistryMachine.TestCase
TestRegistryMachine.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)

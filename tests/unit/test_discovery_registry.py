"""The registry in memory: states, ranks and pages, against the plainest way to compute them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from brikk_discovery.domain.agent import Agent, AgentKey, Capability, Definition, Load, Service
from brikk_discovery.domain.terms import Terms
from brikk_discovery.domain.ranking import Rank, State, rank_of, rank_reason, state_of
from brikk_discovery.runtime.registry import Registry
from brikk_shared.testing import ManualClock

TERMS = Terms(
    heartbeat_interval=timedelta(seconds=10),
    suspect_after=timedelta(seconds=25),
    expire_after=timedelta(seconds=40),
    checkpoint_interval=timedelta(seconds=1),
)
Offer = tuple[str, State, int]


def offer(agent: Agent, state: State) -> Offer:
    return agent.key.agent_id, state, agent.load.in_flight


def agent(
    agent_id: str,
    *capabilities: str,
    organization: str = "acme",
    capacity: int = 0,
    epoch: int = 1,
    now: datetime = datetime(2026, 1, 1, tzinfo=UTC),
) -> Agent:
    service = Service(
        service_id="main", capabilities=tuple(Capability(name=name) for name in capabilities)
    )
    return Agent(
        key=AgentKey(organization, agent_id),
        incarnation=f"{agent_id}-{epoch}",
        epoch=epoch,
        revision=epoch,
        definition=Definition(
            endpoint="127.0.0.1:9000", labels={}, services=(service,), capacity=capacity
        ),
        load=Load(),
        register_time=now,
        beat_time=now,
        expire_time=now + TERMS.expire_after,
    )


def beat(registry: Registry[Offer], agent_id: str, in_flight: int = 0, **load: bool) -> bool:
    return registry.beat(AgentKey("acme", agent_id), 1, Load(in_flight=in_flight, **load))


def ids(registry: Registry[Offer], capability: str = "a", **excluded: set[str]) -> list[str]:
    return [item[0] for item in registry.resolve("acme", capability, limit=20, **excluded)]


def test_states_are_derived() -> None:
    assert state_of(Load(in_flight=1), capacity=2, silent=False) is State.READY
    assert state_of(Load(in_flight=2), capacity=2, silent=False) is State.BUSY
    assert state_of(Load(in_flight=99), capacity=0, silent=False) is State.READY
    assert state_of(Load(in_flight=2), capacity=2, silent=True) is State.SUSPECT
    assert state_of(Load(draining=True), capacity=2, silent=True) is State.DRAINING


def test_reasons_are_in_words() -> None:
    assert rank_reason(State.READY, capacity=8, in_flight=3) == "ready: 5 of 8 slots free"
    assert rank_reason(State.BUSY, capacity=8, in_flight=9) == "busy: 0 of 8 slots free"
    assert rank_reason(State.READY, capacity=0, in_flight=3) == (
        "ready: 3 in flight, capacity not declared"
    )
    assert rank_reason(State.SUSPECT, capacity=2, in_flight=1).startswith("suspect, used when")


def test_the_roomiest_comes_first_and_the_busy_last() -> None:
    registry = Registry(TERMS, ManualClock(), offer)
    registry.put(agent("small", "a", capacity=2))
    registry.put(agent("large", "a", capacity=8))
    registry.put(agent("silent", "a"))
    assert ids(registry) == ["large", "small", "silent"]
    beat(registry, "large", in_flight=8)
    assert ids(registry) == ["small", "silent", "large"]
    beat(registry, "large", in_flight=1)
    assert ids(registry) == ["large", "small", "silent"]


def test_draining_agents_are_never_offered_and_may_come_back() -> None:
    registry = Registry(TERMS, ManualClock(), offer)
    registry.put(agent("one", "a"))
    beat(registry, "one", draining=True)
    assert ids(registry) == []
    assert registry.count(State.DRAINING) == 1
    beat(registry, "one")
    assert ids(registry) == ["one"]


def test_suspects_are_offered_when_nobody_else_is_left() -> None:
    clock = ManualClock()
    registry = Registry(TERMS, clock, offer)
    registry.put(agent("mute", "a"))
    registry.put(agent("well", "a"))
    clock.advance(timedelta(seconds=24))
    assert ids(registry) == ["mute", "well"]
    beat(registry, "well")
    clock.advance(timedelta(seconds=1))
    assert ids(registry) == ["well"]
    assert ids(registry, excluded={"well"}) == ["mute"]
    assert registry.count(State.SUSPECT) == 1
    beat(registry, "mute")
    assert ids(registry) == ["mute", "well"]


def test_a_superseded_epoch_is_not_heard() -> None:
    registry = Registry(TERMS, ManualClock(), offer)
    registry.put(agent("one", "a", epoch=1))
    registry.put(agent("one", "a", epoch=2))
    assert not beat(registry, "one", draining=True)
    assert not beat(registry, "nobody")
    assert ids(registry) == ["one"]


def test_a_replacement_keeps_the_load_of_the_last_heartbeat() -> None:
    registry = Registry(TERMS, ManualClock(), offer)
    registry.put(agent("one", "a", "b"))
    beat(registry, "one", in_flight=4)
    registry.put(agent("one", "b", "c"))
    assert ids(registry, "a") == []
    assert registry.resolve("acme", "c", limit=1) == [("one", State.READY, 4)]


def test_what_was_read_from_the_store_is_as_old_as_the_store_says() -> None:
    clock = ManualClock()
    registry = Registry(TERMS, clock, offer)
    then = clock.now()
    registry.load(
        [agent("new", "a", now=then), agent("old", "a", now=then - timedelta(seconds=20))],
        now=then + timedelta(seconds=5),
    )
    assert ids(registry) == ["new"]


def test_organizations_do_not_see_each_other() -> None:
    registry = Registry(TERMS, ManualClock(), offer)
    registry.put(agent("one", "a"))
    assert registry.get(AgentKey("globex", "one")) is None
    assert registry.resolve("globex", "a", limit=9) == []
    assert registry.page("globex", after="", size=9) == []
    assert registry.page("globex", after="", size=9, capability="a") == []
    assert not registry.beat(AgentKey("globex", "one"), 1, Load())
    registry.remove(AgentKey("globex", "one"))
    assert ids(registry) == ["one"]


class RegistryMachine(RuleBasedStateMachine):
    """Whatever happens in whatever order, the index answers as a plain list of agents would."""

    AGENTS = st.sampled_from([f"agent-{number}" for number in range(12)])
    CAPABILITIES = st.sets(st.sampled_from("abc"), min_size=1)

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.registry = Registry(TERMS, self.clock, offer)
        self.agents: dict[str, tuple[Agent, Load, float]] = {}
        self.epoch = 0

    @rule(agent_id=AGENTS, capabilities=CAPABILITIES, capacity=st.integers(0, 3))
    def register(self, agent_id: str, capabilities: set[str], capacity: int) -> None:
        self.epoch += 1
        new = agent(
            agent_id,
            *sorted(capabilities),
            capacity=capacity,
            epoch=self.epoch,
            now=self.clock.now(),
        )
        self.registry.put(new)
        self.agents[agent_id] = (new, Load(), self.clock.monotonic())

    @rule(agent_id=AGENTS)
    def remove(self, agent_id: str) -> None:
        self.registry.remove(AgentKey("acme", agent_id))
        self.agents.pop(agent_id, None)

    @rule(agent_id=AGENTS, in_flight=st.integers(0, 4), draining=st.booleans())
    def beat(self, agent_id: str, in_flight: int, draining: bool) -> None:
        load = Load(in_flight=in_flight, draining=draining)
        held = self.agents.get(agent_id)
        epoch = held[0].epoch if held else 1
        assert self.registry.beat(AgentKey("acme", agent_id), epoch, load) == (held is not None)
        if held:
            self.agents[agent_id] = (held[0], load, self.clock.monotonic())

    @rule(seconds=st.integers(0, 20))
    def wait(self, seconds: int) -> None:
        self.clock.advance(timedelta(seconds=seconds))

    @rule(capability=st.sampled_from("abc"), limit=st.integers(1, 12), excluded=st.sets(AGENTS))
    def resolve(self, capability: str, limit: int, excluded: set[str]) -> None:
        ranked = sorted(
            (rank, (agent_id, self.state(agent_id), self.agents[agent_id][1].in_flight))
            for agent_id, rank in self.ranks(capability).items()
            if agent_id not in excluded
        )
        live = [item for rank, item in ranked if not rank.suspect]
        expected = live or [item for _, item in ranked]
        found = self.registry.resolve("acme", capability, limit=limit, excluded=excluded)
        assert found == expected[:limit]

    @rule(after=AGENTS, size=st.integers(1, 5), capability=st.sampled_from(["", "a", "b"]))
    def page(self, after: str, size: int, capability: str) -> None:
        expected = sorted(
            agent_id
            for agent_id, (held, _, _) in self.agents.items()
            if agent_id > after
            and (not capability or capability in held.definition.capability_names())
        )
        found = self.registry.page("acme", after=after, size=size, capability=capability)
        assert [entry.agent.key.agent_id for entry in found] == expected[:size]

    @invariant()
    def states_are_counted(self) -> None:
        for state in State:
            expected = sum(self.state(agent_id) is state for agent_id in self.agents)
            assert self.registry.count(state) == expected

    def state(self, agent_id: str) -> State:
        held, load, heard = self.agents[agent_id]
        silent = self.clock.monotonic() - heard >= TERMS.suspect_after.total_seconds()
        return state_of(load, capacity=held.definition.capacity, silent=silent)

    def ranks(self, capability: str) -> dict[str, Rank]:
        ranks: dict[str, Rank] = {}
        for agent_id, (held, load, _) in self.agents.items():
            if capability not in held.definition.capability_names():
                continue
            rank = rank_of(
                agent_id,
                self.state(agent_id),
                capacity=held.definition.capacity,
                in_flight=load.in_flight,
            )
            if rank is not None:
                ranks[agent_id] = rank
        return ranks


TestRegistryMachine = RegistryMachine.TestCase
TestRegistryMachine.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)

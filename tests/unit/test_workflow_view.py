"""The view of an organisation: whatever discovery tells, it is what discovery means."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brikk.discovery.v1 import discovery_service_pb2 as pb
from brikk.discovery.v1.agent_pb2 import (
    PROTOCOL_A2A_GRPC,
    PROTOCOL_BRIKK,
    PROTOCOL_UNSPECIFIED,
    Agent,
)
from brikk_shared.selection import Group, Observation, Option
from brikk_workflow.clients.view import View
from support.scripted_discovery import candidate

NOW = 7.0


def watching(*capabilities: str) -> View:
    """A view whose watch of these has begun."""
    view = View("acme")
    for each in capabilities:
        view.want(each)
    view.begin()
    return view


def agents(view: View, capability: str = "t") -> set[str]:
    return {each.agent.removeprefix("agents/") for each in view.rosters[capability].options}


def snapshot(
    *candidates: pb.Candidate, complete: bool = True, token: str = "1"
) -> pb.WatchCapabilitiesResponse:
    part = pb.CapabilitySnapshot(candidates=candidates, complete=complete)
    return pb.WatchCapabilitiesResponse(snapshot=part, resume_token=token if complete else "")


def answer(*candidates: pb.Candidate) -> pb.ResolveCapabilityResponse:
    return pb.ResolveCapabilityResponse(candidates=candidates)


def changes(
    *upserted: pb.Candidate, removed: Iterable[tuple[str, str]] = (), token: str = "2"
) -> pb.WatchCapabilitiesResponse:
    keys = [pb.CandidateKey(agent=f"agents/{agent}", capability=key) for agent, key in removed]
    return pb.WatchCapabilitiesResponse(
        changes=pb.CapabilityChanges(upserted=upserted, removed=keys), resume_token=token
    )


def observations(*told: pb.Observation) -> pb.WatchCapabilitiesResponse:
    hint = pb.CapabilityObservations(observations=told)
    return pb.WatchCapabilitiesResponse(observations=hint)


RESYNC = pb.WatchCapabilitiesResponse(resync=pb.CapabilityResync(reason="slow"))


def observation(agent: str, calls: float, in_flight: int = 0) -> pb.Observation:
    message = pb.Observation(
        agent=f"agents/{agent}",
        capability="t",
        calls=calls,
        success_rate=0.75,
        quality=0.5,
        in_flight=in_flight,
    )
    message.latency.FromTimedelta(timedelta(seconds=2))
    return message


def test_a_candidate_is_an_option_with_all_that_is_known_of_it() -> None:
    message = candidate(
        "a",
        zone="z1",
        state=Agent.STATE_SUSPECT,
        capacity=4,
        in_flight=3,
        cost_micros=12,
        observation=observation("a", 8.0),
    )
    message.latency.FromTimedelta(timedelta(seconds=1))
    message.register_time.FromDatetime(datetime(2026, 1, 1, tzinfo=UTC))
    view = watching("t")
    view.apply(snapshot(message), NOW)
    roster = view.rosters["t"]
    assert roster.group == Group("acme", "t")
    assert roster.options == (
        Option(
            agent="agents/a",
            endpoint="a:1",
            zone="z1",
            suspect=True,
            capacity=4,
            in_flight=3,
            cost_micros=12,
            latency=timedelta(seconds=1),
            register_time=datetime(2026, 1, 1, tzinfo=UTC),
            observation=Observation(
                calls=8.0,
                success_rate=0.75,
                latency=timedelta(seconds=2),
                quality=0.5,
                receive_time=NOW,
            ),
        ),
    )
    assert roster.find("agents/a") is roster.options[0]
    assert roster.find("agents/b") is None


def test_what_nobody_told_of_a_candidate_is_unknown() -> None:
    view = watching("t")
    view.apply(snapshot(candidate("a")), NOW)
    assert view.rosters["t"].options == (Option(agent="agents/a", endpoint="a:1"),)


@pytest.mark.parametrize(
    ("protocol", "speaks"),
    [(PROTOCOL_BRIKK, True), (PROTOCOL_UNSPECIFIED, True), (PROTOCOL_A2A_GRPC, False)],
)
def test_only_agents_that_speak_our_protocol_are_candidates(protocol: int, speaks: bool) -> None:
    view = watching("t")
    view.apply(snapshot(candidate("a", protocol=protocol)), NOW)
    assert bool(view.rosters["t"].options) is speaks
    view.apply(changes(candidate("a")), NOW)
    view.apply(changes(candidate("a", protocol=protocol)), NOW)
    assert bool(view.rosters["t"].options) is speaks
    asked = View("acme")
    asked.want("t")
    asked.answer("t", answer(candidate("a", protocol=protocol)), NOW)
    assert bool(asked.rosters["t"].options) is speaks


def test_a_snapshot_counts_once_it_is_complete() -> None:
    view = watching("t", "u")
    assert view.apply(snapshot(candidate("a"), complete=False), NOW) == ()
    assert agents(view) == set()
    assert not view.tells_of("t")
    assert set(view.apply(snapshot(candidate("b", "u")), NOW)) == {"t", "u"}
    assert (agents(view), agents(view, "u")) == ({"a"}, {"b"})
    assert view.tells_of("t")
    assert view.rosters["t"].known


def test_a_watch_that_breaks_within_a_snapshot_leaves_nothing_of_it() -> None:
    view = watching("t")
    view.apply(snapshot(candidate("a")), NOW)
    view.apply(RESYNC, NOW)
    view.apply(snapshot(candidate("b"), complete=False), NOW)
    assert agents(view) == {"a"}
    assert view.begin() == ({"t"}, "")
    view.apply(snapshot(candidate("c")), NOW)
    assert agents(view) == {"c"}


def test_a_watch_goes_on_where_it_was() -> None:
    view = watching("t")
    assert view.begin() == ({"t"}, "")
    view.apply(snapshot(candidate("a")), NOW)
    assert view.begin() == ({"t"}, "1")
    view.apply(changes(candidate("b"), token="5"), NOW)
    bookmark = pb.WatchCapabilitiesResponse(bookmark=pb.CapabilityBookmark(), resume_token="6")
    view.apply(bookmark, NOW)
    view.apply(observations(observation("a", 1.0)), NOW)
    assert view.begin() == ({"t"}, "6")


def test_a_watch_about_something_else_begins_with_a_snapshot() -> None:
    view = watching("t", "u")
    view.apply(snapshot(candidate("a"), candidate("b", "u")), NOW)
    view.drop("u")
    view.apply(changes(candidate("c", "u")), NOW)
    assert set(view.rosters) == {"t"}
    assert view.begin() == ({"t"}, "")
    view.apply(snapshot(candidate("a"), token="3"), NOW)
    view.want("u")
    assert not view.tells_of("u")
    assert view.begin() == ({"t", "u"}, "")
    assert agents(view) == {"a"}, "what was known serves on"
    assert view.begin() == ({"t", "u"}, ""), "the snapshot never came"


def test_a_watch_that_is_begun_anew_has_a_snapshot() -> None:
    view = watching("t")
    view.apply(snapshot(candidate("a")), NOW)
    view.begin_anew()
    assert view.begin() == ({"t"}, "")


def test_a_capability_wanted_again_is_not_what_the_watch_still_tells_of_it() -> None:
    view = watching("t", "u")
    view.apply(snapshot(), NOW)
    view.drop("u")
    view.want("u")
    view.apply(changes(candidate("a", "u")), NOW)
    assert agents(view, "u") == set()


def test_an_answer_is_all_there_is_and_no_watch_goes_on_from_it() -> None:
    view = watching("t")
    view.apply(snapshot(candidate("a")), NOW)
    view.answer("t", answer(candidate("b")), NOW)
    assert agents(view) == {"b"}
    view.answer("dropped", answer(candidate("b")), NOW)
    assert set(view.rosters) == {"t"}
    assert view.begin() == ({"t"}, "")


def test_that_nobody_offers_a_capability_is_an_answer() -> None:
    view = watching("t")
    assert not view.rosters["t"].known
    view.answer("t", answer(), NOW)
    assert view.rosters["t"].known


def test_observations_are_of_candidates_only_and_change_nothing_else() -> None:
    view = watching("t")
    view.apply(snapshot(candidate("a", zone="z"), candidate("b")), NOW)
    before = view.rosters["t"].options
    told = [observation("a", 2.0, in_flight=3), observation("gone", 1.0), observation("b", 0.0)]
    assert view.apply(observations(*told), NOW + 1) == ()
    first, second = view.rosters["t"].options
    assert (first.zone, first.in_flight) == ("z", 3)
    assert first.observation is not None
    assert (first.observation.calls, first.observation.receive_time) == (2.0, NOW + 1)
    assert second.observation is None
    assert view.rosters["t"].options is not before


def test_the_options_are_the_same_tuple_until_something_changes() -> None:
    view = watching("t", "u")
    view.apply(snapshot(candidate("a"), candidate("b", "u")), NOW)
    before = view.rosters["t"].options
    assert set(view.apply(changes(candidate("c", "u"), removed=[("b", "u")]), NOW)) == {"u"}
    assert view.rosters["t"].options is before
    assert agents(view, "u") == {"c"}


CAPABILITIES = ("t", "u", "v")
KEYS = st.tuples(st.sampled_from("abc"), st.sampled_from(CAPABILITIES))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("change"), st.sets(KEYS), st.sets(KEYS)),
        st.tuples(st.just("resync"), st.booleans()),
        st.tuples(st.just("break"), st.booleans()),
        st.tuples(st.just("want"), st.sampled_from(CAPABILITIES)),
        st.tuples(st.just("drop"), st.sampled_from(CAPABILITIES)),
        st.tuples(st.just("observe"), st.sampled_from("abc")),
    )
)


class Registry:
    """What discovery holds, and the messages by which it tells a view, as the contract has it."""

    def __init__(self, view: View) -> None:
        self.view = view
        self.offers: dict[tuple[str, str], int] = {}
        self.log: list[tuple[str, str]] = []
        self.watched: set[str] = set()
        self.version = 0

    def connect(self, *, torn: bool = False) -> None:
        """A watch begins; torn, it breaks within its snapshot and another begins."""
        watched, token = self.view.begin()
        self.watched = set(watched)
        if not token:
            self.snapshot(torn=torn)
            return
        self.tell(set(self.log[int(token) :]))

    def snapshot(self, *, torn: bool = False) -> None:
        for key in sorted(self.offers):
            if key[1] in self.watched:
                self.view.apply(snapshot(self.candidate(key), complete=False), NOW)
        if torn:
            self.connect()
        else:
            self.view.apply(snapshot(token=str(len(self.log))), NOW)

    def change(self, upserted: set[tuple[str, str]], removed: set[tuple[str, str]]) -> None:
        self.version += 1
        for key in removed:
            self.offers.pop(key, None)
        self.offers |= dict.fromkeys(upserted, self.version)
        self.log += sorted(upserted | removed)

    def tell(self, keys: set[tuple[str, str]]) -> None:
        keys = {key for key in keys if key[1] in self.watched}
        upserted = [self.candidate(key) for key in sorted(keys & self.offers.keys())]
        removed = sorted(keys - self.offers.keys())
        self.view.apply(changes(*upserted, removed=removed, token=str(len(self.log))), NOW)

    def candidate(self, key: tuple[str, str]) -> pb.Candidate:
        return candidate(*key, capacity=self.offers[key])

    def meant(self, capability: str) -> set[tuple[str, int]]:
        return {
            (agent, version) for (agent, key), version in self.offers.items() if key == capability
        }


@given(first=st.sets(st.sampled_from(CAPABILITIES), min_size=1), steps=STEPS)
def test_after_any_messages_the_view_is_what_discovery_holds(
    first: set[str], steps: list[tuple[object, ...]]
) -> None:
    view = View("acme")
    for capability in first:
        view.want(capability)
    registry = Registry(view)
    registry.connect()
    for step in steps:
        match step:
            case "change", set() as upserted, set() as removed:
                registry.change(upserted, removed)
                registry.tell(upserted | removed)
            case "resync", bool() as torn:
                view.apply(RESYNC, NOW)
                registry.snapshot(torn=torn)
            case "break", bool() as torn:
                registry.change({("a", "t")}, {("b", "u")})
                registry.connect(torn=torn)
            case "want", str() as capability:
                view.want(capability)
            case "drop", str() as capability if capability in view.rosters:
                view.drop(capability)
            case "observe", str() as agent:
                view.apply(observations(observation(agent, 1.0)), NOW)
        for capability, roster in view.rosters.items():
            if view.tells_of(capability):
                held = {(each.agent[-1], each.capacity) for each in roster.options}
                assert held == registry.meant(capability)
    registry.connect()
    assert all(view.tells_of(each) for each in view.rosters)

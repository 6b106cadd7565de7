"""What people see of agents, and what the answers of a watch add up to."""

from __future__ import annotations

import io
import random

from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console, RenderableType

from brikk.discovery.v1 import agent_pb2
from brikk.discovery.v1 import discovery_service_pb2 as pb
from brikk_cli.agent_view import agent_view, candidates_table, finds_table
from brikk_cli.offers import Offers, news
from brikk_cli.render import money


def drawn(what: RenderableType) -> list[str]:
    console = Console(file=io.StringIO(), width=200)
    console.print(what)
    assert isinstance(console.file, io.StringIO)
    return [" ".join(line.split()) for line in console.file.getvalue().splitlines()]


def candidate(agent: str, capability: str = "text.write", **facts: object) -> pb.Candidate:
    return pb.Candidate(
        agent=f"agents/{agent}",
        capability=capability,
        state=agent_pb2.Agent.STATE_READY,
        endpoint="127.0.0.1:9000",
        **facts,  # type: ignore[arg-type] # fields by name
    )


def snapshot(*candidates: pb.Candidate, complete: bool = True) -> pb.WatchCapabilitiesResponse:
    return pb.WatchCapabilitiesResponse(
        snapshot=pb.CapabilitySnapshot(candidates=candidates, complete=complete),
    )


def changes(
    *upserted: pb.Candidate, removed: tuple[tuple[str, str], ...] = ()
) -> pb.WatchCapabilitiesResponse:
    keys = [pb.CandidateKey(agent=f"agents/{name}", capability=what) for name, what in removed]
    return pb.WatchCapabilitiesResponse(
        changes=pb.CapabilityChanges(upserted=upserted, removed=keys)
    )


def test_an_agent_is_shown_with_its_services() -> None:
    agent = agent_pb2.Agent(
        name="agents/writer-1",
        display_name="Writer",
        endpoint="127.0.0.1:9000",
        protocol=agent_pb2.PROTOCOL_BRIKK,
        labels={"tier": "gold", "region": "eu"},
        state=agent_pb2.Agent.STATE_MAINTENANCE,
        state_reason="new model",
        capacity=4,
        in_flight=1,
        register_time=Timestamp(seconds=1),
    )
    service = agent.services.add(service_id="prose", description="Writes prose.")
    capability = service.capabilities.add(
        capability="text.write", version="1.4.0", cost_micros=2_500
    )
    capability.latency.FromMilliseconds(800)
    lines = drawn(agent_view(agent))
    assert lines[0] == "agents/writer-1: maintenance (new model)"
    assert "endpoint 127.0.0.1:9000 (brikk)" in lines
    assert "labels region=eu,tier=gold" in lines
    assert "in flight 1/4" in lines
    assert not any(line.startswith("zone") for line in lines)
    assert lines[-1] == "prose text.write 1.4.0 0.0025 800 ms Writes prose."
    capability.output_schema["type"] = "object"
    lines = drawn(agent_view(agent))
    assert lines[-2:] == ["capability of its schema", 'text.write output {"type": "object"}']


def test_candidates_show_only_the_columns_that_are_filled() -> None:
    columns, line = drawn(candidates_table([candidate("a", rank_reason="ready: 1 of 1 free")]))
    assert columns == "agent capability state in flight endpoint why"
    assert line == "agents/a text.write ready 0/- 127.0.0.1:9000 ready: 1 of 1 free"
    observed = candidate("b", version="1.2", zone="eu-1", cost_micros=1_000_000)
    observed.observation.success_rate = 0.75
    observed.observation.latency.FromMilliseconds(40)
    columns, _, line = drawn(candidates_table([candidate("a"), observed]))
    assert "version" in columns
    assert line.endswith("127.0.0.1:9000 eu-1 1 75% in 40 ms")


def test_finds_say_what_matched() -> None:
    found = pb.SearchResult(
        agent="agents/a",
        service=agent_pb2.AgentService(name="agents/a/services/s", description="Does it."),
        score=3.14159,
        capabilities=["x.y", "x.z"],
    )
    assert drawn(finds_table([found]))[1] == "agents/a/services/s 3.14 x.y, x.z Does it."


def test_money_is_written_as_people_write_it() -> None:
    assert [money(micros) for micros in (0, 1, 2_500, 12_000_000)] == [
        "",
        "0.000001",
        "0.0025",
        "12",
    ]


def test_the_answers_of_a_watch_add_up() -> None:
    offers = Offers()
    offers.take(snapshot(candidate("b"), complete=False))
    offers.take(snapshot(candidate("a")))
    assert [each.agent for each in offers] == ["agents/a", "agents/b"]
    offers.take(changes(candidate("a", version="2"), removed=(("b", "text.write"),)))
    assert list(offers) == [candidate("a", version="2")]
    offers.take(pb.WatchCapabilitiesResponse(bookmark=pb.CapabilityBookmark()))
    offers.take(changes(removed=(("gone", "text.write"),)))
    seen = pb.Observation(agent="agents/a", capability="text.write", in_flight=3, calls=9)
    other = pb.Observation(agent="agents/x", capability="text.write")
    offers.take(
        pb.WatchCapabilitiesResponse(
            observations=pb.CapabilityObservations(observations=[seen, other])
        )
    )
    [left] = offers
    assert (left.in_flight, left.observation) == (3, seen)


def test_a_new_snapshot_replaces_all_that_was_known_also_a_broken_one() -> None:
    offers = Offers()
    resync = pb.WatchCapabilitiesResponse(resync=pb.CapabilityResync(reason="too slow"))
    offers.take(snapshot(candidate("old")))
    offers.take(resync)
    assert [each.agent for each in offers] == ["agents/old"]
    offers.take(snapshot(candidate("broken"), complete=False))
    offers.take(resync)
    offers.take(snapshot(candidate("a"), complete=False))
    offers.take(snapshot(candidate("b")))
    assert [each.agent for each in offers] == ["agents/a", "agents/b"]
    offers.take(snapshot(candidate("c")))
    assert [each.agent for each in offers] == ["agents/c"]


def test_any_order_of_changes_ends_with_the_newest() -> None:
    chance, offers = random.Random(7), Offers()
    held: dict[tuple[str, str], pb.Candidate] = {}
    offers.take(snapshot())
    for version in range(200):
        name = chance.choice("abc")
        if chance.random() < 0.4:
            held.pop((name, "text.write"), None)
            offers.take(changes(removed=((name, "text.write"),)))
        else:
            held[name, "text.write"] = candidate(name, version=str(version))
            offers.take(changes(held[name, "text.write"]))
        assert list(offers) == [held[key] for key in sorted(held)]


def test_news_is_a_line_each() -> None:
    def lines(answer: pb.WatchCapabilitiesResponse) -> list[str]:
        return [line.plain.split(" ", 2)[2] for line in news(answer)]

    assert lines(snapshot(candidate("a", version="1.2"))) == [
        "= agents/a text.write 1.2 ready 127.0.0.1:9000"
    ]
    assert lines(changes(candidate("b"), removed=(("a", "text.write"),))) == [
        "+ agents/b text.write ready 127.0.0.1:9000",
        "- agents/a text.write",
    ]
    resync = pb.WatchCapabilitiesResponse(resync=pb.CapabilityResync(reason="too slow"))
    assert lines(resync) == ["! all anew: too slow"]

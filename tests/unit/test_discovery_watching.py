"""Watchers are told once for all who watch the same, in bounded pieces, out of no queue."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta

import pytest

from brikk_discovery.domain.agent import AgentKey
from brikk_discovery.domain.outcome import Observation
from brikk_discovery.runtime.news import (
    Bookmark,
    Cause,
    Changes,
    Observations,
    Resume,
    Resync,
    Snapshot,
)
from brikk_discovery.runtime.topics import Watched
from brikk_shared.errors import Reason, ResourceExhausted
from support.watchers import Client, Replica, Store, agent

WRITE = Watched.of("acme", ["text.write"])
KEY = AgentKey("acme", "one")


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@pytest.fixture
def replica() -> Replica:
    return Replica(Store(), alone=True)


@pytest.fixture
def clients(loop: asyncio.AbstractEventLoop) -> Iterator[list[Client]]:
    clients: list[Client] = []
    yield clients
    for client in clients:
        client.leave()


class Watching:
    """Makes watchers that leave at the end."""

    def __init__(self, loop: asyncio.AbstractEventLoop, clients: list[Client]) -> None:
        self._loop, self._clients = loop, clients

    def __call__(
        self, replica: Replica, watched: Watched = WRITE, resume: Resume | None = None
    ) -> Client:
        client = Client(watched, replica, self._loop, resume=resume)
        self._clients.append(client)
        client.connect(replica)
        return client


@pytest.fixture
def watching(loop: asyncio.AbstractEventLoop, clients: list[Client]) -> Watching:
    return Watching(loop, clients)


def known(revision: int) -> Resume:
    """What another process told."""
    return Resume(epoch="first", revision=revision, process="other")


def register(replica: Replica, number: int, *capabilities: str) -> None:
    names = set(capabilities) or {"text.write"}
    epoch = replica.store.revision + 1
    replica.put(agent(f"agent-{number}", names, epoch=epoch))


def test_a_watched_set_is_the_least_that_means_the_same() -> None:
    assert Watched.of("acme", ["b", "a", "b"]).capabilities == ("a", "b")
    assert Watched.of("acme", ["a.*", "a.b", "a.b.*", "a", "ab.c"]).capabilities == (
        "a",
        "a.*",
        "ab.c",
    )


def test_those_who_watch_the_same_share_each_message(replica: Replica, watching: Watching) -> None:
    for number in range(450):
        register(replica, number)
    everybody = [watching(replica) for _ in range(50)]
    for client in everybody:
        client.catch_up()
        parts = [each for each in client.news if isinstance(each, Snapshot)]
        assert [len(part.candidates) for part in parts] == [200, 200, 50]
        assert all(one is other for one, other in zip(client.news, everybody[0].news, strict=True))
    register(replica, 1)
    replica.watchers.tell()
    for client in everybody:
        client.catch_up()
        assert isinstance(client.news[-1], Changes)
        assert client.news[-1] is everybody[0].news[-1]


def test_a_change_costs_those_who_watch_nothing_of_it_nothing(
    replica: Replica, watching: Watching
) -> None:
    concerned, other = watching(replica), watching(replica, Watched.of("acme", ["image.*"]))
    foreign = watching(replica, Watched.of("globex", ["text.write"]))
    for client in (concerned, other, foreign):
        client.catch_up()
    register(replica, 1)
    replica.watchers.tell()
    for client in (concerned, other, foreign):
        client.catch_up()
    assert len(concerned.news) == 2
    assert len(other.news) == len(foreign.news) == 1


def test_what_changes_during_a_snapshot_comes_after_it(
    replica: Replica, watching: Watching
) -> None:
    for number in range(300):
        register(replica, number)
    client = watching(replica)
    assert client.read()
    replica.remove(AgentKey("acme", "agent-0"))
    replica.remove(AgentKey("acme", "agent-299"))
    register(replica, 300)
    replica.watchers.tell()
    client.catch_up()
    assert client.knows == replica.offered(WRITE)


def test_a_slow_watcher_gets_one_message_of_the_newest_state(
    replica: Replica, watching: Watching
) -> None:
    client = watching(replica)
    client.catch_up()
    for _ in range(20):
        register(replica, 1)
        replica.watchers.tell()
    client.catch_up()
    assert len(client.news) == 2
    assert client.knows == replica.offered(WRITE)


def test_a_watcher_that_is_too_slow_begins_anew(watching: Watching) -> None:
    replica = Replica(Store(), alone=True, history=10)
    client = watching(replica)
    client.catch_up()
    for number in range(20):
        register(replica, number)
        replica.watchers.tell()
    client.catch_up()
    assert client.news[1] == Resync(cause=Cause.FORGOTTEN)
    assert client.knows == replica.offered(WRITE)
    name, labels = "brikk_discovery_resyncs_total", {"cause": "forgotten"}
    assert replica.metrics.get_sample_value(name, labels) == 1


def test_more_changes_than_a_message_holds_come_in_pieces_to_those_who_keep_up(
    watching: Watching,
) -> None:
    replica = Replica(Store(), alone=True, history=10_000)
    keeps_up, comes_back = watching(replica), watching(replica)
    for client in (keeps_up, comes_back):
        client.catch_up()
    comes_back.leave()
    for number in range(2500):
        register(replica, number)
    replica.watchers.tell()
    keeps_up.catch_up()
    assert [len(item.upserted) for item in keeps_up.news if isinstance(item, Changes)] == [
        2000,
        500,
    ]
    assert keeps_up.knows == replica.offered(WRITE)
    comes_back.connect(replica)
    comes_back.catch_up()
    assert comes_back.news[1] == Resync(cause=Cause.TOO_MUCH)
    assert comes_back.knows == replica.offered(WRITE)


def test_bookmarks_let_a_watcher_of_quiet_capabilities_resume(
    replica: Replica, watching: Watching
) -> None:
    client = watching(replica)
    client.catch_up()
    for number in range(5):
        register(replica, number, "image.draw")
    replica.watchers.mark()
    client.catch_up()
    assert isinstance(client.news[-1], Bookmark)
    assert client.resume is not None
    assert client.resume.revision == 5


def test_whoever_missed_nothing_is_told_so_at_once(replica: Replica, watching: Watching) -> None:
    client = watching(replica)
    client.catch_up()
    client.leave()
    register(replica, 1, "image.draw")
    client.connect(replica)
    client.catch_up()
    assert client.news[1:] == [Bookmark()]


def test_whoever_comes_from_elsewhere_and_missed_nothing_is_told_so(watching: Watching) -> None:
    store = Store()
    one, other = Replica(store, alone=False), Replica(store, alone=False)
    register(one, 1, "image.draw")
    other.feed()
    client = watching(other, Watched.of("acme", ["text.*"]), resume=known(1))
    client.catch_up()
    assert client.news == [Bookmark()]
    client.leave()
    register(one, 1, "image.draw")
    other.feed()
    client.connect(other)
    client.catch_up()
    assert client.news[1:] == [Bookmark()]


def test_whoever_comes_from_elsewhere_is_told_of_agents_as_wholes(watching: Watching) -> None:
    store = Store()
    one, other = Replica(store, alone=False), Replica(store, alone=False)
    client = watching(one)
    client.catch_up()
    register(one, 1)
    register(one, 2)
    one.watchers.tell()
    client.catch_up()
    client.leave()
    register(one, 1, "image.draw")
    one.remove(AgentKey("acme", "agent-2"))
    # It learns of both at once, and so never saw what the client knows.
    other.feed()
    client.connect(other)
    client.catch_up()
    assert client.knows == {}
    assert Cause.FORGOTTEN not in [each.cause for each in client.news if isinstance(each, Resync)]


def test_nobody_else_knows_more_of_a_store_that_one_process_writes(watching: Watching) -> None:
    store = Store()
    before = Replica(store, alone=True)
    register(before, 1)
    replica = Replica(store, alone=True)
    register(replica, 2)
    ahead = watching(replica, resume=known(2))
    ahead.catch_up()
    assert ahead.news[0] == Resync(cause=Cause.AHEAD)
    went_on = watching(replica, resume=known(1))
    went_on.catch_up()
    assert isinstance(went_on.news[0], Changes)


def test_another_history_begins_anew_for_all(replica: Replica, watching: Watching) -> None:
    register(replica, 1)
    client = watching(replica)
    client.catch_up()
    replica.store.epoch = "second"
    replica.watchers.mark()
    client.catch_up()
    assert client.news[1] == Resync(cause=Cause.FORGOTTEN)
    assert client.resume is not None
    assert client.resume.epoch == "second"
    late = watching(replica, resume=known(1))
    late.catch_up()
    assert late.news[0] == Resync(cause=Cause.OTHER_REGISTRY)
    assert isinstance(late.news[1], Snapshot)


def test_a_token_from_the_future_waits_for_news_and_then_begins_anew(
    loop: asyncio.AbstractEventLoop, watching: Watching
) -> None:
    store = Store()
    one, other = Replica(store, alone=False), Replica(store, alone=False)
    register(one, 1)
    client = watching(other, resume=known(1))
    client.catch_up()
    assert client.news == []
    other.feed()
    other.clock.advance(timedelta(milliseconds=50))
    client.catch_up()
    assert isinstance(client.news[0], Changes)

    ahead = watching(other, resume=known(9))
    ahead.catch_up()
    assert ahead.news == []
    other.clock.advance(timedelta(seconds=2))
    ahead.catch_up()
    assert ahead.news[0] == Resync(cause=Cause.AHEAD)
    assert ahead.knows == other.offered(WRITE)


def test_watchers_are_limited_by_organization_and_in_all(
    loop: asyncio.AbstractEventLoop, watching: Watching
) -> None:
    replica = Replica(Store(), alone=True, limits=(2, 3))

    def refused(organization: str) -> str:
        client = watching(replica, Watched.of(organization, ["a"]))
        with pytest.raises(ResourceExhausted) as error:
            client.read()
        assert error.value.reason is Reason.QUOTA_EXCEEDED
        return error.value.metadata["quota"]

    served = [watching(replica) for _ in range(2)]
    for client in served:
        client.catch_up()
    assert refused("acme") == "organization_watchers"
    watching(replica, Watched.of("globex", ["a"])).catch_up()
    assert refused("globex") == "watchers"
    served[0].leave()
    assert replica.metrics.get_sample_value("brikk_discovery_watchers") == 2
    watching(replica, Watched.of("globex", ["a"])).catch_up()


def test_observations_are_told_when_they_change_noticeably(
    replica: Replica, watching: Watching
) -> None:
    register(replica, 1)
    key, client = AgentKey("acme", "agent-1"), watching(replica)
    client.catch_up()

    def observe(success_rate: float, *, milliseconds: int = 100) -> int:
        observation = Observation(
            calls=10,
            success_rate=success_rate,
            latency=timedelta(milliseconds=milliseconds),
            quality=1,
        )
        replica.registry.observe(key, {"text.write": observation})
        replica.watchers.tell_observations()
        client.catch_up()
        return sum(isinstance(item, Observations) for item in client.news)

    assert observe(1) == 1
    assert observe(0.99, milliseconds=110) == 1
    assert observe(0.9) == 2
    assert observe(0.9, milliseconds=200) == 3
    register(replica, 1)
    replica.watchers.tell()
    client.catch_up()
    assert client.knows == replica.offered(WRITE)


def test_who_comes_back_is_not_led_back_by_a_step_that_others_were_given(
    watching: Watching,
) -> None:
    store = Store()
    here, there = Replica(store, alone=False), Replica(store, alone=False)
    early, late = watching(here), watching(here)
    for client in (early, late):
        client.catch_up()
    early.leave()
    early.connect(here)
    early.catch_up()
    register(there, 1)
    here.feed()
    here.watchers.tell()
    late.catch_up()
    assert late.resume is not None
    assert late.resume.revision == store.revision
    late.leave()
    late.connect(here)
    late.catch_up()
    assert late.resume.revision == store.revision

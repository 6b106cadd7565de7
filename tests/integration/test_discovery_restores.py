"""The store goes back to an older copy: no lease is granted twice, nobody believes what is lost."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from brikk_discovery.domain.agent import Agent, AgentKey, Capability, Definition, Load, Service
from brikk_discovery.domain.offer import Offer
from brikk_discovery.domain.terms import Terms
from brikk_discovery.runtime.feed import Feed
from brikk_discovery.runtime.outcomes import Outcomes
from brikk_discovery.runtime.registry import Registry
from brikk_discovery.store.agents import AgentStore, Position
from brikk_discovery.store.outcomes import OutcomeStore
from brikk_discovery.store.removals import KEPT, RemovalStore
from brikk_discovery.store.renewals import Renewal, RenewalStore
from brikk_shared.clock import SystemClock
from brikk_shared.database import Database
from brikk_shared.errors import Reason, Unavailable
from brikk_shared.testing import Tokens
from support.backup import copy
from support.discovery import serving, until
from support.partition import Partition
from support.refusals import refused

ONE = "11111111-1111-4111-8111-111111111111"
TWO = "22222222-2222-4222-8222-222222222222"
TERMS = Terms(
    heartbeat_interval=timedelta(seconds=10),
    suspect_after=timedelta(seconds=25),
    expire_after=timedelta(seconds=40),
    checkpoint_interval=timedelta(seconds=1),
)
DEFINITION = Definition(
    endpoint="127.0.0.1:9000",
    labels={},
    services=(Service(service_id="main", capabilities=(Capability(name="text.write"),)),),
)


async def test_leases_of_a_lost_history_are_fenced_off(sqlite_url: str, tmp_path: Path) -> None:
    path, backup = sqlite_url.removeprefix("sqlite:///"), str(tmp_path / "backup.db")
    tokens = Tokens(tmp_path)
    async with serving(sqlite_url, tokens) as discovery:
        kept = await discovery.caller().register("kept")
        old = await discovery.caller().register("replaced", incarnation=ONE)
    copy(path, backup)
    async with serving(sqlite_url, tokens) as discovery:
        new = await discovery.caller().register("replaced", incarnation=TWO)
        lost = await discovery.caller().register("lost")
    copy(backup, path)
    async with serving(sqlite_url, tokens) as discovery:
        caller = discovery.caller()
        assert await caller.beat("kept", kept.epoch) is None
        # The registry holds the old lease; who took it over is told to come again, and does.
        for agent_id, epoch in (("replaced", new.epoch), ("lost", lost.epoch)):
            beaten = await caller.beat(agent_id, epoch)
            assert beaten is not None
            assert beaten.reason is Reason.REREGISTER
        again = await caller.register("replaced", incarnation=TWO)
        other = await caller.register("other")
        # No epoch is given twice, or it would fence nobody off.
        assert min(again.epoch, other.epoch) > max(new.epoch, lost.epoch)
        beaten = await caller.beat("replaced", old.epoch)
        assert beaten is not None
        assert beaten.reason is Reason.LEASE_SUPERSEDED
        error = await refused(caller.register("replaced", incarnation=ONE))
        assert error.reason is Reason.LEASE_SUPERSEDED
        assert sorted(await caller.resolve()) == ["kept", "other", "replaced"]


def offered(offer: Offer) -> str:
    return offer.agent.key.agent_id


@dataclass(kw_only=True)
class Replica:
    """What a replica knows, and its way to learn more."""

    database: Database
    store: AgentStore
    renewals: RenewalStore
    registry: Registry[str]
    feed: Feed

    async def commit(self, *agent_ids: str) -> dict[str, Agent]:
        """Register agents in the store as another replica does."""
        async with self.database.transaction() as connection:
            last, now = await self.store.advance(connection, len(agent_ids))
            agents = {
                agent_id: Agent(
                    key=AgentKey("acme", agent_id),
                    incarnation=agent_id,
                    epoch=revision,
                    revision=revision,
                    definition=DEFINITION,
                    load=Load(),
                    register_time=now,
                    beat_time=now,
                    expire_time=now + TERMS.expire_after,
                )
                for revision, agent_id in enumerate(agent_ids, start=last - len(agent_ids) + 1)
            }
            await self.store.save(connection, list(agents.values()))
        return agents

    async def renew(self, agent: Agent, *, in_flight: int) -> None:
        """Write a heartbeat as another replica does."""
        async with self.database.transaction() as connection:
            _, now = await self.store.advance(connection)
            beat = Renewal(
                key=agent.key,
                epoch=agent.epoch,
                load=Load(in_flight=in_flight),
                beat_time=now,
                expire_time=now + TERMS.expire_after,
            )
            await self.renewals.renew(connection, [beat])

    async def lose(self, agent_id: str, revision: int) -> None:
        """Do to the store what restoring a copy does that was made before an agent came."""
        for table in ("agent", "agent_lease"):
            await self._execute(f"DELETE FROM {table} WHERE agent_id = :agent", agent=agent_id)
        await self._execute("UPDATE registry SET revision = :revision", revision=revision)

    async def lose_heartbeats(self, turns: int) -> None:
        """Do to the store what restoring a copy does that was made so many transactions ago."""
        await self._execute("UPDATE registry SET turn = turn - :turns", turns=turns)

    async def _execute(self, statement: str, **values: object) -> None:
        async with self.database.transaction() as connection:
            await connection.execute(text(statement), values)

    async def until_in_flight(self, expected: int) -> None:
        """Follow the store until heartbeats have told of so many calls."""

        async def told() -> bool:
            await self.feed.catch_up()
            return {entry.agent.load.in_flight for entry in self.registry.entries()} == {expected}

        await until(told)

    async def position(self) -> Position:
        async with self.database.reading() as connection:
            return await self.store.position(connection)

    def known(self) -> dict[str, int]:
        return {entry.agent.key.agent_id: entry.agent.revision for entry in self.registry.entries()}


def replica(database: Database, way: Database, position: Position) -> Replica:
    """A replica that reads the store its own way."""
    clock = SystemClock()
    store, renewals, registry = AgentStore(database, clock), RenewalStore(way), Registry(offered)
    outcomes = Outcomes(
        database=way,
        agents=store,
        store=OutcomeStore(way),
        registry=registry,
        interval=TERMS.checkpoint_interval,
        clock=clock,
    )
    feed = Feed(
        database=way,
        store=store,
        renewals=renewals,
        removals=RemovalStore(way),
        registry=registry,
        outcomes=outcomes,
        position=position,
        terms=TERMS,
        clock=clock,
    )
    return Replica(database=database, store=store, renewals=renewals, registry=registry, feed=feed)


@pytest.fixture
def partition(postgres_url: str) -> Partition:
    return Partition(postgres_url)


@pytest.fixture
async def two(postgres_url: str, partition: Partition) -> AsyncIterator[tuple[Replica, Replica]]:
    """Two replicas, of which the second may be cut off."""
    migrations = "brikk_discovery.store.migrations"
    async with (
        Database(postgres_url, migrations=migrations) as database,
        partition.listening() as url,
        Database(url, migrations=migrations) as way,
    ):
        async with database.reading() as connection:
            position = await AgentStore(database, SystemClock()).position(connection)
        yield replica(database, database, position), replica(database, way, position)


async def test_who_was_not_told_for_too_long_reads_everything(
    two: tuple[Replica, Replica],
) -> None:
    one, _ = two
    agents = await one.commit("stays")
    ghost = replace(
        agents["stays"],
        key=AgentKey("acme", "ghost"),  # it left, and by now even that is forgotten
        revision=agents["stays"].revision - 1,
    )
    position = await one.position()
    late = replica(one.database, one.database, replace(position, time=position.time - KEPT))
    late.registry.put(ghost)
    await late.feed.catch_up()
    assert late.known() == {"stays": agents["stays"].revision}


async def test_a_store_that_went_back_begins_another_history(
    two: tuple[Replica, Replica],
) -> None:
    one, other = two
    stays = await one.commit("stays")
    lost = await one.commit("lost")
    before = await one.position()
    for each in two:
        await each.feed.catch_up()
        assert each.known().keys() == {"lost", "stays"}
    await one.lose("lost", stays["stays"].revision)
    for each in two:
        await each.feed.catch_up()
        assert each.known().keys() == {"stays"}
    assert one.known() == other.known()
    after = await one.position()
    assert after.epoch != before.epoch
    assert after.revision == one.known()["stays"] > lost["lost"].revision
    # The second replica found the new history, and did not begin another.
    for each in two:
        await each.feed.catch_up()
    assert (await one.position()).epoch == after.epoch


async def test_a_store_that_lost_only_heartbeats_tells_of_the_next(
    two: tuple[Replica, Replica],
) -> None:
    one, other = two
    agents = await one.commit("stays")
    for _ in range(9):
        await one.renew(agents["stays"], in_flight=9)
    for each in two:
        await each.until_in_flight(9)
    before = await one.position()
    await one.lose_heartbeats(turns=9)
    for each in two:
        await each.feed.catch_up()
    assert (await one.position()).epoch != before.epoch
    await one.renew(agents["stays"], in_flight=1)
    await other.until_in_flight(1)


async def test_it_is_noticed_although_others_wrote_since(
    two: tuple[Replica, Replica], partition: Partition
) -> None:
    one, cut_off = two
    stays = await one.commit("stays")
    await one.commit("lost")
    before = await one.position()
    await cut_off.feed.catch_up()
    partition.cut()
    with pytest.raises(Unavailable):
        await cut_off.feed.catch_up()
    await one.lose("lost", stays["stays"].revision)
    await one.commit("comes")
    assert (await one.position()).revision > before.revision
    partition.heal()
    await cut_off.feed.catch_up()
    assert cut_off.known().keys() == {"comes", "stays"}
    assert (await one.position()).epoch != before.epoch


async def test_who_only_lost_touch_does_not_doubt_the_store(
    two: tuple[Replica, Replica], partition: Partition
) -> None:
    one, cut_off = two
    await one.commit("stays")
    leaves = await one.commit("leaves")
    await cut_off.feed.catch_up()
    before = await one.position()
    partition.cut()
    with pytest.raises(Unavailable):
        await cut_off.feed.catch_up()
    await one.commit("comes")
    async with one.database.transaction() as connection:
        revision, now = await one.store.advance(connection, 1)
        key = leaves["leaves"].key
        await one.store.delete(connection, [key])
        await RemovalStore(one.database).add(connection, {key: revision}, now)
    partition.heal()
    await cut_off.feed.catch_up()
    assert cut_off.known().keys() == {"comes", "stays"}
    assert (await one.position()).epoch == before.epoch

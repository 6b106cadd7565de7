"""What the registry holds in memory and what the store holds never drift apart."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from importlib import import_module

import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from prometheus_client import CollectorRegistry
from sqlalchemy import Connection, text

from brikk_discovery.clients.events import SOURCE, Announcer
from brikk_discovery.domain.agent import (
    Agent,
    AgentKey,
    Capability,
    Definition,
    Doubt,
    Load,
    Service,
)
from brikk_discovery.domain.lease import Beat, Registration
from brikk_discovery.domain.offer import Offer
from brikk_discovery.domain.ranking import State
from brikk_discovery.domain.terms import Terms
from brikk_discovery.runtime.beats import Beats
from brikk_discovery.runtime.changes import Changes
from brikk_discovery.runtime.metrics import Metrics
from brikk_discovery.runtime.pace import Pace
from brikk_discovery.runtime.registry import Registry
from brikk_discovery.store.agents import AgentStore
from brikk_discovery.store.memories import MemoryStore
from brikk_discovery.store.removals import RemovalStore
from brikk_discovery.store.renewals import Renewal, RenewalStore
from brikk_discovery.store.tables import METADATA
from brikk_shared.call import Call, enter_call
from brikk_shared.clock import SystemClock
from brikk_shared.database import Database
from brikk_shared.errors import BrikkError, Unavailable
from brikk_shared.identity import Identity
from brikk_shared.migrations import compare
from brikk_shared.outbox import Outbox
from brikk_shared.types import to_microseconds
from support.discovery import until

KEY = AgentKey("acme", "writer")
DEFINITION = Definition(
    endpoint="127.0.0.1:9000",
    labels={"team": "press"},
    services=(Service(service_id="main", capabilities=(Capability(name="text.write"),)),),
)
TERMS = Terms(
    heartbeat_interval=timedelta(seconds=10),
    suspect_after=timedelta(seconds=25),
    expire_after=timedelta(seconds=40),
    checkpoint_interval=timedelta(seconds=1),
)


def agent(epoch: int) -> Agent:
    now = datetime.now(UTC)
    return Agent(
        key=KEY,
        incarnation="one",
        epoch=epoch,
        revision=epoch,
        definition=DEFINITION,
        load=Load(),
        register_time=now,
        beat_time=now,
        expire_time=now + TERMS.expire_after,
    )


def offered(offer: Offer) -> str:
    return offer.agent.key.agent_id


class Parts:
    """The service below its servicers, on a real store."""

    def __init__(self, database: Database) -> None:
        clock, metrics = SystemClock(), Metrics(CollectorRegistry())
        self.database = database
        self.store = AgentStore(database, clock)
        self.renewals = RenewalStore(database)
        self.registry: Registry[str] = Registry(offered)
        pace = Pace(TERMS, max_beats_per_second=1000, clock=clock)
        self.beats = Beats(
            database=database,
            store=self.store,
            renewals=self.renewals,
            registry=self.registry,
            pace=pace,
            catch_up=None,
            clock=clock,
            metrics=metrics,
        )
        self.changes = Changes(
            database=database,
            store=self.store,
            memories=MemoryStore(database),
            removals=RemovalStore(database),
            registry=self.registry,
            announcer=Announcer(Outbox(database, source=SOURCE, destinations=[])),
            pace=pace,
            max_agents=5,
            clock=clock,
            metrics=metrics,
        )

    async def save(self, agent: Agent) -> None:
        async with self.database.transaction() as connection:
            await self.store.advance(connection)
            await self.store.save(connection, [agent])

    async def beat(self, epoch: int, load: Load) -> object:
        (result,) = await self.beats.take([Beat(key=KEY, epoch=epoch, load=load)])
        return result

    async def stored(self) -> Agent | None:
        async with self.database.reading() as connection:
            return (await self.store.read(connection, [KEY])).get(KEY)


@pytest.fixture
async def parts(database_url: str) -> AsyncIterator[Parts]:
    async with Database(database_url, migrations="brikk_discovery.store.migrations") as database:
        yield Parts(database)


async def cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_the_tables_are_those_that_the_migrations_make(parts: Parts) -> None:
    async with parts.database.reading() as connection:
        assert await compare(connection, METADATA) == []


async def test_agents_come_back_from_the_store_as_they_were(parts: Parts) -> None:
    await parts.save(agent(1))
    held = await parts.stored()
    assert held is not None
    assert held.definition == DEFINITION
    async with parts.database.reading() as connection:
        assert await parts.store.read_all(connection) == [held]


async def test_leases_of_before_are_held_still(empty_database_url: str) -> None:
    # A database as the version left it that kept a lease in the row of its agent.
    migrations = "brikk_discovery.store.migrations"
    before = agent(7)

    def migrate(connection: Connection) -> None:
        with Operations.context(MigrationContext.configure(connection)):
            for number in (1, 2):
                import_module(f"{migrations}.versions.discovery_000{number}").upgrade()
        connection.execute(text("INSERT INTO alembic_version VALUES ('discovery_0002')"))
        connection.execute(
            text(
                "INSERT INTO agent (organization, agent_id, incarnation, epoch, revision,"
                " definition, in_flight, draining, ready, capacity, doubt, register_time,"
                " beat_time, expire_time, turn, graces) VALUES ('acme', 'writer', 'one', 7, 9,"
                ' \'{"endpoint": "127.0.0.1:9000", "labels": {}, "services": []}\','
                " 3, true, false, 5, 'silent', :beat, :beat, :beat, 4, 1)"
            ),
            {"beat": to_microseconds(before.beat_time)},
        )

    async with (
        Database(empty_database_url, migrations=None) as database,
        database.transaction() as connection,
    ):
        await connection.run_sync(migrate)
    async with (
        Database(empty_database_url, migrations=migrations) as database,
        database.reading() as connection,
    ):
        (after,) = await AgentStore(database, SystemClock()).read_all(connection)
        (beaten,) = await RenewalStore(database).since(connection, 3)
    assert (after.key, after.epoch, after.revision) == (KEY, 7, 9)
    assert after.load == beaten.load == Load(in_flight=3, draining=True, ready=False, capacity=5)
    assert after.doubt is Doubt.SILENT
    assert after.beat_time == after.expire_time == beaten.expire_time == before.beat_time


async def test_a_heartbeat_that_comes_during_a_checkpoint_is_not_lost(parts: Parts) -> None:
    await parts.save(agent(1))
    parts.registry.put(agent(1))
    assert await parts.beat(1, Load(in_flight=1)) is State.READY
    async with parts.database.transaction() as connection:
        await parts.store.advance(connection)  # the checkpoint waits for this lock
        checkpoint = asyncio.create_task(parts.beats.checkpoint())
        await asyncio.sleep(0)
        assert await parts.beat(1, Load(in_flight=2)) is State.READY
    await checkpoint
    written = await parts.stored()
    assert written is not None
    assert written.load.in_flight == 1
    await parts.beats.checkpoint()
    written = await parts.stored()
    assert written is not None
    assert written.load.in_flight == 2


async def test_heartbeats_of_a_superseded_lease_change_nothing(parts: Parts) -> None:
    parts.registry.put(agent(1))
    assert await parts.beat(1, Load(draining=True)) is State.DRAINING
    await parts.save(agent(2))
    before = await parts.stored()
    await parts.beats.checkpoint()
    assert await parts.stored() == before


async def test_only_a_change_of_wish_or_doubt_moves_the_revision(parts: Parts) -> None:
    await parts.save(agent(1))
    parts.registry.put(agent(1))

    async def revision(load: Load) -> int:
        assert not isinstance(await parts.beat(1, load), BrikkError)
        await parts.beats.checkpoint()
        stored, entry = await parts.stored(), parts.registry.get(KEY)
        assert stored is not None
        assert entry is not None
        assert (entry.agent.revision, entry.agent.load) == (stored.revision, stored.load)
        return stored.revision

    assert await revision(Load(in_flight=3, ready=False, capacity=7)) == 1
    draining = await revision(Load(draining=True))
    assert draining > 1
    assert await revision(Load(draining=True, in_flight=1)) == draining
    back = await revision(Load())
    assert back > draining
    async with parts.database.transaction() as connection:
        silent, _ = await parts.store.advance(connection, 1)
        await parts.store.doubt(connection, {KEY: (Doubt.SILENT, silent)})
    assert await revision(Load()) > silent
    stored = await parts.stored()
    assert stored is not None
    # What an earlier heartbeat told of its capacity holds.
    assert (stored.doubt, stored.capacity) == (Doubt.NONE, 7)


async def test_a_heartbeat_that_is_late_does_not_set_back_a_newer_one(parts: Parts) -> None:
    held = agent(1)
    await parts.save(held)
    for seconds, in_flight in ((5, 2), (3, 9)):
        time = held.beat_time + timedelta(seconds=seconds)
        renewal = Renewal(
            key=KEY,
            epoch=1,
            load=Load(in_flight=in_flight),
            beat_time=time,
            # The later one was promised less, for instance because there are fewer agents now.
            expire_time=time + TERMS.expire_after / seconds,
        )
        async with parts.database.transaction() as connection:
            await parts.store.advance(connection)
            await parts.renewals.renew(connection, [renewal])
    stored = await parts.stored()
    assert stored is not None
    assert stored.load == Load(in_flight=2)
    assert stored.beat_time == held.beat_time + timedelta(seconds=5)
    assert stored.expire_time == held.expire_time


async def test_what_was_committed_without_an_answer_is_read_again(parts: Parts) -> None:
    enter_call(
        Call(
            method="/test",
            identity=Identity(subject="a", organization="acme", scopes=frozenset()),
            request_id="r",
        )
    )
    committing = asyncio.create_task(parts.changes.commit())
    await asyncio.sleep(0)
    await cancelled(committing)
    with pytest.raises(Unavailable):
        await parts.changes.register(
            Registration(key=KEY, incarnation="one", definition=DEFINITION)
        )
    await parts.save(agent(1))
    reading = asyncio.create_task(parts.changes.read_again())

    async def found() -> bool:
        return parts.registry.resolve("acme", "text.write", limit=1) == ("writer",)

    await until(found)
    await cancelled(reading)

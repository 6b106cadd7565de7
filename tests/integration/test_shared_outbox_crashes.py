"""Whatever dies, and whenever: each event has its effect once, in order per subject.

The one exception is a backup: events that lay in it, and were sent after it was made, are sent
again when it is restored, as nobody can know. Even then nothing is lost and the order is kept.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Coroutine
from copy import deepcopy
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from sqlalchemy import delete, insert, select

from brikk.event.v1.event_pb2 import Event
from brikk.event.v1.event_service_pb2 import PublishRequest
from brikk_shared.database import Database
from brikk_shared.errors import Reason, Unavailable
from brikk_shared.ids import new_id
from brikk_shared.tables import OUTBOX, OUTBOX_SHARD
from support.inbox import Inbox, event
from support.producer import AT_REST, Producer

T = TypeVar("T")

Fate = Literal["well", "down", "answer lost", "died before", "died after"]
FATES: st.SearchStrategy[Fate] = st.sampled_from(
    ("well", "well", "down", "answer lost", "died before", "died after")
)
PAUSE = timedelta(seconds=5)
SUBJECTS = st.sampled_from(("executions/a", "executions/b", "executions/c"))


class Crashes(RuleBasedStateMachine):
    """One producer, one relay at a time, one receiver that is exact about its marks."""

    @initialize()
    def begin(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.folder = TemporaryDirectory()
        self.inbox = Inbox()
        self.inbox.before, self.inbox.after = self.before, self.after
        self.fates: deque[Fate] = deque()
        self.fate: Fate = "well"
        self.died = asyncio.Event()
        # The events that the store ever held, by subject, in order.
        self.life: dict[str, list[str]] = {}
        self.sent_again: set[str] = set()
        self.do(self.open())

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    async def open(self) -> None:
        path = Path(self.folder.name) / "producer.db"
        self.database = Database(f"sqlite:///{path}", migrations=None)
        await self.database.__aenter__()
        self.producer = Producer(self.database)

    # What happens to the batches of a relay, one after another.

    async def before(self, request: PublishRequest) -> None:
        self.fate = self.fates.popleft() if self.fates else "well"
        if self.fate == "down":
            raise Unavailable(Reason.DEPENDENCY_UNAVAILABLE, "down")
        if self.fate == "died before":
            await self.die()

    async def after(self, request: PublishRequest) -> None:
        if self.fate == "answer lost":
            raise Unavailable(Reason.DEPENDENCY_UNAVAILABLE, "lost")
        if self.fate == "died after":
            await self.die()

    async def die(self) -> None:
        self.died.set()
        await asyncio.Event().wait()

    # Rules.

    @rule(
        subjects=st.lists(SUBJECTS, min_size=1, max_size=4),
        committed=st.sampled_from((True, True, True, False)),
        fates=st.none() | st.lists(FATES, max_size=4),
    )
    def add(self, subjects: list[str], committed: bool, fates: list[Fate] | None) -> None:
        """Events are added, and often carried: a relay lives until a call kills it, or all are."""
        self.do(self._add(subjects, committed))
        if fates is not None:
            self.do(self._carry(fates))

    async def _add(self, subjects: list[str], committed: bool) -> None:
        life = deepcopy(self.life)
        events: list[Event] = []
        for subject in subjects:
            of_subject = life.setdefault(subject, [])
            events.append(event(len(of_subject) + 1, subject))
            of_subject.append(events[-1].id)
        async with self.database.transaction() as connection:
            await self.producer.outbox.add(connection, events)
            if not committed:
                await connection.rollback()
        if committed:
            self.life = life

    @rule(fates=st.lists(FATES, max_size=4))
    def carry_on(self, fates: list[Fate]) -> None:
        """Another relay takes over from one that died."""
        if self.died.is_set():
            self.do(self._carry(fates))

    async def _carry(self, fates: list[Fate]) -> None:
        self.fates = deque(fates)
        self.died.clear()
        clock = self.producer.clock
        async with self.producer.relay(self.inbox, owner=new_id()):
            died = asyncio.create_task(self.died.wait())
            while not died.done():
                rest = asyncio.create_task(clock.sleeping(AT_REST))
                await asyncio.wait({died, rest}, return_when=asyncio.FIRST_COMPLETED)
                rest.cancel()
                if not died.done():
                    if not await self.producer.waiting():
                        break
                    self.producer.outbox.wake()
                    clock.advance(PAUSE)
            died.cancel()

    @rule()
    def restart(self) -> None:
        self.do(self.database.__aexit__())
        self.do(self.open())

    @rule(subjects=st.lists(SUBJECTS, min_size=1, max_size=4), fates=st.lists(FATES, max_size=4))
    def lose_a_day(self, subjects: list[str], fates: list[Fate]) -> None:
        """A backup is made, life goes on, and the backup is restored."""
        self.do(self._lose_a_day(subjects, fates))

    async def _lose_a_day(self, subjects: list[str], fates: list[Fate]) -> None:
        life = self.life
        async with self.database.reading() as connection:
            backup = {
                table: [dict(row._mapping) for row in await connection.execute(select(table))]
                for table in (OUTBOX, OUTBOX_SHARD)
            }
        await self._add(subjects, committed=True)
        await self._carry(fates)
        async with self.database.transaction() as connection:
            for table, rows in backup.items():
                await connection.execute(delete(table))
                if rows:
                    await connection.execute(insert(table), rows)
        self.life = life
        self.sent_again |= {Event.FromString(row["payload"]).id for row in backup[OUTBOX]}

    def teardown(self) -> None:
        if not hasattr(self, "loop"):
            return
        try:
            self.do(self._add(["executions/a"], committed=True))
            self.do(self._carry([]))
            self.check()
        finally:
            self.do(self.database.__aexit__())
            self.loop.close()
            self.folder.cleanup()

    def check(self) -> None:
        effects = [each.id for each in self.inbox.effects]
        counts = Counter(effects)
        for expected in self.life.values():
            assert [each for each in dict.fromkeys(effects) if each in expected] == expected
            last = list(dict.fromkeys(reversed(effects)))[::-1]
            assert [each for each in last if each in expected] == expected
        assert {each for each, count in counts.items() if count > 1} <= self.sent_again


TestCrashes = Crashes.TestCase
TestCrashes.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)

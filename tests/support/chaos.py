"""What must hold after any disaster, read from the store and from those who receive events."""

from __future__ import annotations

import json
import statistics
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import grpc

from brikk.event.v1.event_pb2 import Event
from brikk.event.v1.event_service_pb2 import PublishRequest, PublishResponse
from brikk.event.v1.event_service_pb2_grpc import (
    EventServiceServicer,
    add_EventServiceServicer_to_server,
)
from brikk_shared.chain import link, root
from support.behind import run
from support.discovery import until
from support.inbox import Inbox

Tell: TypeAlias = Callable[[str], None]
"""Says to whoever runs a test what it did."""

ENDS = frozenset(
    {"execution.succeeded", "execution.failed", "execution.cancelled", "execution.terminated"}
)
ANNOUNCED = ENDS | {
    "execution.started",
    "step.succeeded",
    "step.failed",
    "step.skipped",
    "step.cancelled",
}
"""Entries of the history that other services are told of. A retry is told of, too."""

CHAIN = """
name: chain
steps:
  - id: first
    call: {capability: text.one, input: {n: "${input.n}"}}
  - id: second
    call: {capability: text.two, input: {n: "${steps.first.output.n}"}}
  - id: third
    call: {capability: text.one, input: {n: "${steps.second.output.n}"}}
"""


class Receiver(EventServiceServicer):
    """Receives events over a real connection; it may go away, and comes back where it was."""

    def __init__(self) -> None:
        self.inbox = Inbox()
        self.address = "127.0.0.1:0"
        self._server: grpc.aio.Server | None = None

    async def Publish(
        self, request: PublishRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> PublishResponse:
        return await self.inbox.publish(request.SerializeToString())

    async def come(self) -> None:
        """Serves, always at the same address."""
        self._server = grpc.aio.server()
        add_EventServiceServicer_to_server(self, self._server)
        self.address = f"127.0.0.1:{self._server.add_insecure_port(self.address)}"
        await self._server.start()

    async def go(self) -> None:
        """Serves no more."""
        if self._server is not None:
            await self._server.stop(None)


@asynccontextmanager
async def receiving() -> AsyncIterator[tuple[Receiver, Receiver]]:
    """Stands in for webhooks and monitoring."""
    webhooks, monitoring = Receiver(), Receiver()
    await webhooks.come()
    await monitoring.come()
    try:
        yield webhooks, monitoring
    finally:
        await webhooks.go()
        await monitoring.go()


async def let_leases_end(database_url: str) -> None:
    """Does in a moment what time does to the leases of the dead."""
    await run(database_url, "UPDATE lease SET expires_at = 0")


def spread(seconds: Sequence[float]) -> str:
    """What is typical of some measurements, and the worst of them, for people."""
    return f"p50 {statistics.median(seconds):.1f} s, max {max(seconds):.1f} s"


async def prove(database_url: str, names: Collection[str], *receivers: Receiver) -> None:
    """Asserts that exactly these executions were made, and that each is as it must be at its end.

    The receivers, if any, have each announcement once and in order, soon if not yet.
    """
    stories = await read_stories(database_url)
    assert {f"executions/{each.execution_id}" for each in stories} == set(names)
    for story in stories:
        story.check()
    if receivers:

        async def all_sent() -> bool:
            return not await run(database_url, "SELECT id FROM outbox LIMIT 1")

        await until(all_sent)
    for receiver in receivers:
        check_announcements(stories, receiver.inbox.effects)


def check_announcements(stories: Sequence[Story], events: Sequence[Event]) -> None:
    """Asserts that the events tell all these stories, each once and in order, and nothing else."""
    heard: dict[str, list[tuple[int, str]]] = {}
    for event in events:
        kind = event.type.removeprefix("brikk.").removesuffix(".v1")
        heard.setdefault(event.subject, []).append((event.sequence, kind))
    for story in stories:
        story.check_announced(heard.pop(f"executions/{story.execution_id}", []))
    assert not heard, "events of executions that nobody knows"


async def read_stories(database_url: str) -> Sequence[Story]:
    """Reads every execution with its history."""
    stories: dict[str, Story] = {}
    # One statement, which sees one moment.
    for execution_id, organization, status, last, head, end, *row in await run(
        database_url,
        "SELECT execution_id, organization, status, execution.seq, head, end_time,"
        " history.seq, type, step_id, time, attributes, hash"
        " FROM execution JOIN history USING (execution_id) ORDER BY execution_id, history.seq",
    ):
        story = stories.get(execution_id)
        if story is None:
            story = stories[execution_id] = Story(
                execution_id=execution_id,
                organization=organization,
                status=status,
                sequence=last,
                head=head,
                ended=end is not None,
            )
        story.entries.append(Entry(*row))
    return list(stories.values())


@dataclass(frozen=True)
class Entry:
    """A row of the history."""

    sequence: int
    kind: str
    step_id: str
    time: int
    attributes: str
    hash: bytes

    @cached_property
    def facts(self) -> dict[str, Any]:
        """What its attributes say."""
        facts: dict[str, Any] = json.loads(self.attributes)
        return facts


class Story:
    """An execution as the store has it, and all that became of it."""

    def __init__(
        self,
        *,
        execution_id: str,
        organization: str,
        status: str,
        sequence: int,
        head: bytes,
        ended: bool,
    ) -> None:
        self.execution_id = execution_id
        self.organization = organization
        self.status = status
        self.sequence = sequence
        self.head = head
        self.ended = ended
        self.entries: list[Entry] = []

    def check(self) -> None:
        """It has ended, once, and what holds at any moment holds."""
        assert self.ended, self
        assert f"execution.{self.status}" == self.entries[-1].kind, self
        assert not self.check_so_far(), f"{self}: attempts that nothing became of"

    def check_so_far(self) -> dict[str, str]:
        """Asserts what holds at any moment; gives the tokens of the calls under way, by step.

        No gap and no second entry at a place, and a chain that is not broken; nothing after the
        end; nothing accepted twice; and no attempt begun before it is known what became of the one
        before.
        """
        assert [each.sequence for each in self.entries] == [*range(1, self.sequence + 1)], self
        assert self._chained(), self
        assert all(each.kind not in ENDS for each in self.entries[:-1]), self
        under_way: dict[str, str] = {}
        accepted: set[str] = set()
        for entry in self.entries:
            if entry.kind == "step.attempt_started":
                assert entry.step_id not in under_way, (self, entry)
                assert entry.step_id not in accepted, (self, entry)
                under_way[entry.step_id] = entry.facts["token"]
            elif entry.kind in ("step.succeeded", "step.adopted"):
                assert entry.step_id not in accepted, (self, entry)
                accepted.add(entry.step_id)
            if entry.kind not in ("step.attempt_started", "step.late_result"):
                under_way.pop(entry.step_id, None)
        return under_way

    def _chained(self) -> bool:
        """Tells whether each entry has the hash that follows from all before it."""
        organization, execution = self.organization, self.execution_id
        head = root(organization, execution)
        for each in self.entries:
            place = (each.sequence, each.kind, each.step_id, each.time, each.attributes)
            head = link(head, organization, execution, *place)
            if each.hash != head:
                return False
        return self.head == head

    def check_output(self, step_id: str, output: object) -> None:
        """Asserts what was kept, of agents that answer with the token: it is that of the last call.

        What was taken over was answered to another execution.
        """
        tokens = [
            entry.facts["token"]
            for entry in self.entries
            if entry.kind == "step.attempt_started" and entry.step_id == step_id
        ]
        assert not tokens or output == {"token": tokens[-1]}, (self, step_id)

    def count(self, kind: str) -> int:
        """How often something happened."""
        return sum(entry.kind == kind for entry in self.entries)

    def check_announced(self, heard: Sequence[tuple[int, str]]) -> None:
        """Asserts that all that is announced was heard once, in order."""
        positions = [sequence for sequence, _ in heard]
        assert positions == sorted(set(positions)), (self, heard)
        kinds = dict(heard)
        for entry in self.entries:
            if entry.kind in ANNOUNCED:
                assert kinds.pop(entry.sequence, None) == entry.kind, (self, entry, heard)
            elif "delay_ms" in entry.facts:
                assert kinds.pop(entry.sequence, None) == "step.retrying", (self, entry, heard)
        # What else is announced is of an entry, too.
        assert kinds.keys() <= {each.sequence for each in self.entries}, (self, heard)

    def __repr__(self) -> str:
        told = ", ".join(f"{each.sequence} {each.kind} {each.step_id}" for each in self.entries)
        return f"{self.execution_id} ({self.status}, {self.sequence}): {told}"

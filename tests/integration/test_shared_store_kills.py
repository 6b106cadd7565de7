"""A producer killed at each fault point: what it acknowledged is durable, and announced once."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from sqlalchemy import text

from brikk.event.v1.event_service_pb2 import PublishRequest, PublishResponse
from brikk.event.v1.event_service_pb2_grpc import (
    EventServiceServicer,
    add_EventServiceServicer_to_server,
)
from brikk_shared import faults, marks
from brikk_shared.database import Database
from support import dying_producer

LAST = 10
ELSEWHERE = {"archive.written", "schedule.decided", "schedule.started"}
"""Points that a producer of events does not pass."""


@dataclass
class Receiver(EventServiceServicer):
    """Takes events over a real connection, with its marks in a real store."""

    database: Database
    sequences: list[int] = field(default_factory=list)

    async def Publish(
        self, request: PublishRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> PublishResponse:
        async with self.database.transaction() as connection:
            fresh = await marks.take(connection, request)
            mark = await marks.read(connection, request)
        self.sequences += [item.event.sequence for item in fresh]
        return PublishResponse(mark=mark)


@asynccontextmanager
async def listening(receiver: Receiver) -> AsyncIterator[str]:
    server = grpc.aio.server()
    add_EventServiceServicer_to_server(receiver, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


async def produce(url: str, address: str, fault: str | None = None) -> tuple[int | None, list[int]]:
    """Run the producer to its end; give its exit code, and the numbers it acknowledged."""
    program = Path(dying_producer.__file__)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(program), url, address, str(LAST), *([fault] if fault else [])),
        env={**os.environ, "PYTHONPATH": str(program.parents[1])},
        stdout=PIPE,
    )
    out, _ = await process.communicate()
    return process.returncode, [int(line) for line in out.split()]


@pytest.mark.parametrize("fault", sorted(faults.POINTS - ELSEWHERE))
async def test_nothing_is_lost_and_nothing_has_its_effect_twice(
    database_url: str, tmp_path: Path, fault: str
) -> None:
    async with Database(f"sqlite:///{tmp_path}/receiver.db", migrations=None) as inbox:
        receiver = Receiver(inbox)
        async with listening(receiver) as address:
            code, before = await produce(database_url, address, fault)
            assert code == -signal.SIGKILL
            taken = list(receiver.sequences)
            await let_leases_end(database_url)
            code, after = await produce(database_url, address)
            assert code == 0
    assert receiver.sequences == list(range(1, LAST + 1))
    # One number may have been durable when the producer died, and nobody had been told.
    told = before + after
    assert told == sorted(set(told))
    assert LAST - len(told) <= 1
    # It died where it was told to.
    assert bool(taken) == (fault == "outbox.published")


async def let_leases_end(url: str) -> None:
    """Do in a moment what time does on PostgreSQL; on SQLite a start does it."""
    if url.startswith("postgresql"):
        async with (
            Database(url, migrations=None) as database,
            database.transaction() as connection,
        ):
            await connection.execute(text("UPDATE lease SET expires_at = 0"))

"""A process that announces what it counts, and may be told where to die.

`python dying_producer.py DATABASE_URL RECEIVER LAST [FAULT]` counts on from where its store stands
up to LAST, a group commit for each number, prints each number once it is durable, and ends when
the receiver has them all.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

import grpc
from prometheus_client import CollectorRegistry
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from brikk.event.v1.event_service_pb2 import PublishResponse
from brikk_shared import faults
from brikk_shared.clock import SystemClock
from brikk_shared.database import Database
from brikk_shared.group_commit import GroupCommit, in_transaction
from brikk_shared.ids import new_id
from brikk_shared.leases import Leases
from brikk_shared.outbox import Outbox
from brikk_shared.relay import Relay, RelayMetrics
from brikk_shared.relays import publisher
from support.inbox import event
from support.running import running

# The subject's own row; this process receives nothing, so a mark may stand for it.
COUNT = text(
    "INSERT INTO inbox_mark (producer, generation, shard, position)"
    " VALUES ('counter', '', 0, :number)"
    " ON CONFLICT (producer, generation, shard) DO UPDATE SET position = :number"
)
COUNTED = text("SELECT position FROM inbox_mark WHERE producer = 'counter'")


async def main(url: str, receiver: str, last: int) -> None:
    """Count, announce, and see the announcements through."""
    async with (
        Database(url, migrations=None) as database,
        grpc.aio.insecure_channel(receiver) as channel,
    ):
        clock, everything_taken = SystemClock(), asyncio.Event()
        send = publisher(channel)

        async def publish(request: bytes) -> PublishResponse:
            async with asyncio.timeout(10):
                response = await send(request)
            if response.mark == last:
                everything_taken.set()
            return response

        outbox = Outbox(database, source="brikk.workflow", destinations=("webhooks",))
        relay = Relay(
            database,
            Leases(database, new_id(), clock),
            outbox,
            producer="workflow",
            destination="webhooks",
            publish=publish,
            metrics=RelayMetrics(CollectorRegistry()),
            clock=clock,
        )

        async def write(connection: AsyncConnection, numbers: Sequence[int]) -> Sequence[int]:
            await connection.execute(COUNT, {"number": max(numbers)})
            await outbox.add(connection, [event(number) for number in numbers])
            return numbers

        commits = GroupCommit[int, int](
            in_transaction(database, write), keys=lambda _: ("counter",)
        )
        async with database.reading() as connection:
            counted = (await connection.execute(COUNTED)).scalar() or 0
        async with running(commits.run), running(relay.run):
            for number in range(counted + 1, last + 1):
                print(await commits.submit(number), flush=True)  # noqa: T201 - what it is for
                outbox.wake()
            await everything_taken.wait()


if __name__ == "__main__":
    if len(sys.argv) > 4:
        faults.arm(sys.argv[4])
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))

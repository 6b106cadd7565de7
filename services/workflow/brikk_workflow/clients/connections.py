"""Ways to agents, kept while they serve: a guarded channel, a call token and a session for each."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import grpc

from brikk.agent.v1 import agent_runtime_service_pb2_grpc
from brikk_shared.addresses import split_address
from brikk_shared.clock import Clock
from brikk_shared.egress import Address, Egress
from brikk_shared.errors import DeadlineExceeded, Reason
from brikk_shared.signing import TokenSigner
from brikk_workflow.clients.session import Session

TOKEN_LIFETIME = timedelta(minutes=5)
TOKEN_REUSE = timedelta(minutes=4)
_CHANNEL_OPTIONS = (
    # Oftener than every five minutes, a server with gRPC's defaults takes pings for an attack and
    # ends the connection, and with it a call that is long and silent.
    ("grpc.keepalive_time_ms", 330_000),
    # How long an attempt to connect may take: calls wait for it.
    ("grpc.min_reconnect_backoff_ms", 5_000),
    # Between two attempts calls fail at once.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    # A failed attempt is data: the engine decides where and when the next one goes.
    ("grpc.enable_retries", 0),
)
MAX_AGENTS = 10_000
"""Connections kept; past that the one unused for longest is closed."""


@dataclass(kw_only=True, slots=True, eq=False)
class Connection:
    """One way to one agent. Who calls over it counts itself in `calls`."""

    address: Address
    channel: grpc.aio.Channel
    stub: agent_runtime_service_pb2_grpc.AgentRuntimeServiceAsyncStub
    renew_at: float
    token: str = ""
    sessions: bool = True
    """False once the agent said that it offers none."""
    session: Session | None = None
    calls: int = 0
    silent: bool = False
    """A call got no answer: the name may lead elsewhere by now, so it is looked up again."""
    retired: bool = False
    """No new call goes this way; the last one closes it."""

    @property
    def bearer(self) -> tuple[tuple[str, str], ...]:
        """The metadata that shows the token."""
        return (("authorization", f"Bearer {self.token}"),)


class Connections:
    """Holds a connection per agent and endpoint; a token's audience is that agent alone.

    So a hostile agent gains nothing by replaying what it was sent.
    """

    def __init__(self, *, egress: Egress, signer: TokenSigner, clock: Clock) -> None:
        self._egress = egress
        self._signer = signer
        self._clock = clock
        self._connections: OrderedDict[tuple[str, str], Connection] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()

    def known(self, agent: str, endpoint: str) -> Connection | None:
        """The way to an agent, with a token that holds, unless it is new or fell silent."""
        key = (agent, endpoint)
        connection = self._connections.get(key)
        if connection is None or connection.silent:
            return None
        self._connections.move_to_end(key)
        self._renew(connection, agent)
        return connection

    async def to(self, agent: str, endpoint: str, timeout: timedelta) -> Connection:
        """The same, looked for where it is not known: an endpoint's name is looked up for a way,
        not for a call.

        Raises:
            PermissionDenied: ADDRESS_REFUSED, the endpoint must not be called.
            Unavailable: its name is not known.
            DeadlineExceeded: the timeout passed while it was looked up.
        """
        connection = self.known(agent, endpoint)
        if connection is None:
            connection = await self._open((agent, endpoint), timeout)
            self._renew(connection, agent)
        return connection

    def leave(self, connection: Connection) -> None:
        """Ends a call that counted itself; the last one closes a way that is not used any more."""
        connection.calls -= 1
        if connection.retired and not connection.calls:
            self.keep(connection.channel.close())

    def keep(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Runs something that may last as long as the connections."""
        task = asyncio.create_task(work)
        self._hold(task)
        return task

    def session(self, connection: Connection) -> Session:
        """The session of a connection, a new one if it has none or the last broke."""
        session = connection.session
        if session is None or not session.usable:
            session = connection.session = Session(
                lambda: connection.stub.Session(metadata=connection.bearer)
            )
            self._hold(session.ended)
        return session

    async def aclose(self) -> None:
        """Closes every channel, which ends its session."""
        connections, self._connections = self._connections, OrderedDict()
        await asyncio.gather(*(each.channel.close() for each in connections.values()))
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _open(self, key: tuple[str, str], timeout: timedelta) -> Connection:
        try:
            async with asyncio.timeout(timeout.total_seconds()):
                address = await self._egress.resolve(*split_address(key[1]))
        except TimeoutError:
            raise DeadlineExceeded(Reason.DEADLINE_EXCEEDED, "the deadline passed") from None
        before = self._connections.get(key)  # others may have looked it up meanwhile
        if before is not None and before.address == address:
            before.silent = False
            return before
        channel = address.channel(_CHANNEL_OPTIONS)
        connection = self._connections[key] = Connection(
            address=address,
            channel=channel,
            stub=agent_runtime_service_pb2_grpc.AgentRuntimeServiceStub(channel),
            renew_at=self._clock.monotonic(),
        )
        if before is not None:
            self._retire(before)
        elif len(self._connections) > MAX_AGENTS:
            self._retire(self._connections.popitem(last=False)[1])
        return connection

    def _renew(self, connection: Connection, agent: str) -> None:
        now = self._clock.monotonic()
        if connection.renew_at > now:
            return
        connection.token = self._signer.mint(
            subject="brikk.workflow", scopes=(), audience=agent, lifetime=TOKEN_LIFETIME
        )
        connection.renew_at = now + TOKEN_REUSE.total_seconds()
        if connection.session is not None:
            connection.session.retire()
            connection.session = None

    def _retire(self, connection: Connection) -> None:
        connection.retired = True
        if connection.session is not None:
            connection.session.retire()
        if not connection.calls:
            self.keep(connection.channel.close())

    def _hold(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

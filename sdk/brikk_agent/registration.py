"""An agent's place in the registry: taking it, keeping it with heartbeats, giving it up."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from random import Random, SystemRandom

import grpc
from google.rpc import code_pb2

from brikk.discovery.v1 import agent_pb2
from brikk.discovery.v1 import discovery_service_pb2 as pb
from brikk_agent.connection import Connection, NotConnected
from brikk_agent.errors import CannotStart
from brikk_agent.registry import Registry, registry_at

log = logging.getLogger(__name__)

_LEAVE_TIMEOUT_SECONDS = 4.0
_ORDERED = {agent_pb2.Agent.STATE_DRAINING, agent_pb2.Agent.STATE_MAINTENANCE}
_FIRST_BACKOFF = timedelta(milliseconds=500)
_LONGEST_BACKOFF = timedelta(seconds=10)
# An agent that lost its lease comes back within this share of the interval between heartbeats:
# it may be one of thousands.
_RETURN_SPREAD = 0.25
# Trying again would not help: the agent or its permissions must change first.
_FINAL = (
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.UNIMPLEMENTED,
)


def backoff(failures: int, random: Random) -> timedelta:
    """The wait after a failure: full jitter below a bound that doubles from 0.5 s to 10 s.

    Full jitter, so that the agents of a registry that restarted do not come back all at once.
    """
    bound: timedelta = min(_LONGEST_BACKOFF, _FIRST_BACKOFF * 2 ** min(failures, 10))
    return bound * random.random()


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How busy an agent is."""

    in_flight: int
    ready: bool


class Registration:
    """Keeps one agent instance registered for as long as `run` runs.

    `connect` is asked anew after each failure, so that an agent follows a suite that came back at
    another address or with another token. `held` is set while the registry knows the agent.
    """

    def __init__(
        self,
        request: pb.RegisterAgentRequest,
        *,
        connect: Callable[[], Connection],
        load: Callable[[], Load],
    ) -> None:
        self.held = asyncio.Event()
        self._request = request
        self._agent = request.agent.name
        self._connect = connect
        self._load = load
        self._random = SystemRandom()
        self._epoch = 0
        self._interval = timedelta(0)
        self._state = agent_pb2.Agent.STATE_READY
        self._news = asyncio.Event()
        self._failures = 0
        self._reported = ""

    async def run(self) -> None:
        """Registers and beats until it is cancelled.

        Raises CannotStart when the registry refuses the agent for good, or when another process
        registered under its id: the two would take its place from one another for ever.
        """
        while True:
            try:
                async with registry_at(self._connect()) as registry:
                    await self._keep(registry)
            except NotConnected as error:
                self._report("NOT_CONNECTED", str(error))
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.FAILED_PRECONDITION:
                    raise CannotStart(error.details()) from error
                if error.code() in _FINAL and not self._epoch:
                    raise CannotStart(f"the registry refuses it: {error.details()}") from error
                self._report(error.code().name, error.details() or "")
            delay = backoff(self._failures, self._random)
            self._failures += 1
            await asyncio.sleep(delay.total_seconds())

    async def leave(self) -> None:
        """Asks for no more work and ends the registration; if that fails, the lease runs out."""
        if not self.held.is_set():
            return
        self.held.clear()
        try:
            async with (
                asyncio.timeout(_LEAVE_TIMEOUT_SECONDS),
                registry_at(self._connect()) as registry,
            ):
                await registry.beat(self._beat(draining=True))
                await registry.deregister(self._agent, self._epoch)
        except (NotConnected, TimeoutError, grpc.aio.AioRpcError) as error:
            log.warning("%s could not deregister; its lease will run out: %r", self._agent, error)

    def beat(self) -> None:
        """Beats now instead of when the interval has passed."""
        self._news.set()

    async def _keep(self, registry: Registry) -> None:
        """Registers unless a lease is held, then beats; returns when the lease is lost."""
        if not self.held.is_set():
            registered = await registry.register(self._request)
            self._epoch = registered.epoch
            self.held.set()
            log.info("%s is registered at %s", self._agent, self._request.agent.endpoint)
            self._recovered()
            self._interval = registered.heartbeat_interval.ToTimedelta()
            if self._load().ready:  # otherwise the registry does not know it yet
                await self._pause(registry)
        while True:
            self._news.clear()
            result, self._interval = await registry.beat(self._beat())
            self._recovered()
            if result.status.code == code_pb2.FAILED_PRECONDITION:
                self.held.clear()
                raise CannotStart(result.status.message)
            # Any other refusal: registering again is idempotent, and answers what is wrong.
            if result.status.code != code_pb2.OK:
                log.info("%s lost its lease and registers again", self._agent)
                self.held.clear()
                await asyncio.sleep(
                    self._interval.total_seconds() * _RETURN_SPREAD * self._random.random()
                )
                return
            self._note(result.state)
            await self._pause(registry)

    def _beat(self, *, draining: bool = False) -> pb.Beat:
        load = self._load()
        return pb.Beat(
            agent=self._agent,
            epoch=self._epoch,
            in_flight=load.in_flight,
            ready=load.ready,
            draining=draining,
        )

    async def _pause(self, registry: Registry) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout_at(registry.next_beat(self._interval)):
                await self._news.wait()

    def _note(self, state: agent_pb2.Agent.State.ValueType) -> None:
        if state != self._state and _ORDERED & {state, self._state}:
            name = agent_pb2.Agent.State.Name(state).removeprefix("STATE_").lower()
            log.info("%s is now %s: an operator wants it so", self._agent, name)
        self._state = state

    def _report(self, code: str, details: str) -> None:
        if code != self._reported:  # once per kind of trouble, not once per attempt
            self._reported = code
            log.warning("%s cannot reach the registry yet: %s %s", self._agent, code, details)

    def _recovered(self) -> None:
        self._failures = 0
        self._reported = ""

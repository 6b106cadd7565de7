"""One run of an agent: its server, its health, its registration, and how they end."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio

from brikk.agent.v1 import agent_runtime_service_pb2
from brikk.agent.v1.agent_runtime_service_pb2_grpc import add_AgentRuntimeServiceServicer_to_server
from brikk_agent.errors import CannotStart
from brikk_agent.registration import Registration
from brikk_agent.runtime import Runtime

log = logging.getLogger(__name__)

_SERVICE = agent_runtime_service_pb2.DESCRIPTOR.services_by_name["AgentRuntimeService"].full_name
_EVERY_ADDRESS = ("", "0.0.0.0", "[::]")  # noqa: S104


class Serving:
    """A listening agent, from its first call to its last.

    It is bound when it is made, so that `endpoint` (`host:port`) can be registered. Raises
    CannotStart when it cannot listen, or when nobody could tell where it is reached.
    """

    def __init__(self, runtime: Runtime, *, listen: str, advertise: str) -> None:
        self._runtime = runtime
        # Without SO_REUSEPORT a taken port is an error, not two agents that share its calls.
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        self._health = health_aio.HealthServicer()
        add_AgentRuntimeServiceServicer_to_server(runtime, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        try:
            port = self._server.add_insecure_port(listen)
        except RuntimeError as error:
            raise CannotStart(f"it cannot listen on {listen}") from error
        self.endpoint = _endpoint(listen, advertise, port)
        self._registering: asyncio.Task[None] | None = None
        self._registration: Registration | None = None
        self._asked_to_stop = asyncio.Event()

    async def start(self, registration: Registration) -> None:
        """Begins to serve, and to register in the background."""
        for service in ("", _SERVICE):
            await self._health.set(service, health_pb2.HealthCheckResponse.SERVING)
        await self._server.start()
        self._registration = registration
        self._registering = asyncio.create_task(registration.run(), name="registration")

    def ask_to_stop(self) -> None:
        """Makes `until_stopped` return."""
        self._asked_to_stop.set()

    async def until_registered(self) -> None:
        """Waits until the registry knows the agent; raises CannotStart when it refuses it."""
        assert self._registration is not None
        await self._watch(self._registration.held)

    async def until_stopped(self) -> None:
        """Waits for `ask_to_stop`; raises CannotStart when the registry refuses the agent."""
        await self._watch(self._asked_to_stop)

    async def _watch(self, event: asyncio.Event) -> None:
        assert self._registering is not None
        waiting = asyncio.create_task(event.wait())
        try:
            await asyncio.wait({waiting, self._registering}, return_when="FIRST_COMPLETED")
            if not waiting.done():
                self._registering.result()
        finally:
            waiting.cancel()

    async def drain(self, grace: timedelta) -> bool:
        """Leaves the registry, refuses new calls and lets those in flight finish.

        Returns whether all of them did within the grace.
        """
        assert self._registering is not None
        assert self._registration is not None
        await self._health.enter_graceful_shutdown()
        self._registering.cancel()
        await asyncio.wait({self._registering})
        await self._registration.leave()
        stopping = asyncio.create_task(self._server.stop(grace.total_seconds()))
        try:
            async with asyncio.timeout(grace.total_seconds()):
                await self._runtime.idle()
        except TimeoutError:
            log.warning("%d calls did not end within the grace", self._runtime.in_flight)
            return False
        finally:
            await stopping
            self._runtime.close()
        return True


def _endpoint(listen: str, advertise: str, port: int) -> str:
    host = listen.rpartition(":")[0]
    if not advertise and host in _EVERY_ADDRESS:
        raise CannotStart(
            f"it listens on {listen}, which says nothing about where it is reached; set "
            "`advertise` or BRIKK_AGENT_ADVERTISE"
        )
    reached = advertise or host
    has_port = ":" in reached.rpartition("]")[2]
    return reached if has_port else f"{reached}:{port}"

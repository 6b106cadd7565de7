"""One run of an agent: its server, its health, its registration, and how they end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
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
    """A listening agent, from its first call to its last."""

    def __init__(
        self,
        *,
        endpoint: str,
        server: grpc.aio.Server,
        health: health_aio.HealthServicer,
        runtime: Runtime,
        registration: Registration,
    ) -> None:
        self.endpoint = endpoint
        self._server = server
        self._health = health
        self._runtime = runtime
        self._registration = registration
        self._registering = asyncio.create_task(registration.run(), name="registration")
        self._asked_to_stop = asyncio.Event()

    def beat(self) -> None:
        """Tells the registry at once how the agent stands."""
        self._registration.beat()

    def ask_to_stop(self) -> None:
        """Makes `until_stopped` return."""
        self._asked_to_stop.set()

    async def until_registered(self) -> None:
        """Waits until the registry knows the agent; raises CannotStart when it refuses it."""
        await self._watch(self._registration.held)

    async def until_stopped(self) -> None:
        """Waits for `ask_to_stop`; raises CannotStart when the registry refuses the agent."""
        await self._watch(self._asked_to_stop)

    async def _watch(self, event: asyncio.Event) -> None:
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
        await self._health.enter_graceful_shutdown()
        self._registering.cancel()
        await asyncio.wait({self._registering})
        await self._registration.leave()
        self._runtime.drain()
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


async def begin_to_serve(
    runtime: Runtime,
    *,
    listen: str,
    advertise: str,
    register: Callable[[str], Registration],
) -> Serving:
    """Listens, and registers in the background what `register` makes of the endpoint.

    Raises CannotStart when it cannot listen, or when nobody could tell where it is reached.
    """
    # Without SO_REUSEPORT a taken port is an error, not two agents that share its calls.
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    health = health_aio.HealthServicer()
    add_AgentRuntimeServiceServicer_to_server(runtime, server)
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    try:
        port = server.add_insecure_port(listen)
    except RuntimeError as error:
        raise CannotStart(f"it cannot listen on {listen}") from error
    endpoint = _endpoint(listen, advertise, port)
    for service in ("", _SERVICE):
        await health.set(service, health_pb2.HealthCheckResponse.SERVING)
    await server.start()
    return Serving(
        endpoint=endpoint,
        server=server,
        health=health,
        runtime=runtime,
        registration=register(endpoint),
    )


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

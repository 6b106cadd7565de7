"""How agents register and stay registered."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration
from google.rpc import status_pb2

from brikk.discovery.v1 import discovery_service_pb2 as pb
from brikk_discovery.api.messages import agent_message, definition_of, key_of
from brikk_discovery.api.parts import Context, Methods, Parts
from brikk_discovery.domain.agent import AgentKey, Load, check
from brikk_discovery.domain.lease import Registration, Removal, lease_gone
from brikk_discovery.domain.ranking import state_of
from brikk_shared.call import organization
from brikk_shared.errors import invalid_field
from brikk_shared.status import to_status


class LeaseMethods(Methods):
    """Changes are answered once they are committed."""

    def __init__(self, parts: Parts) -> None:
        super().__init__(parts)
        self._interval = Duration()
        self._interval.FromTimedelta(parts.terms.heartbeat_interval)
        self._duration = Duration()
        self._duration.FromTimedelta(parts.terms.expire_after)

    async def RegisterAgent(
        self, request: pb.RegisterAgentRequest, context: Context
    ) -> pb.RegisterAgentResponse:
        """Register an agent with all its services, or replace what it had registered."""
        key = AgentKey(organization(), request.agent_id)
        if request.agent.name not in ("", key.name):
            raise invalid_field("agent.name", f"must be {key.name}, or absent")
        definition = definition_of(request.agent)
        check(definition)
        agent = await self._parts.changes.register(
            Registration(key=key, incarnation=request.incarnation, definition=definition)
        )
        return pb.RegisterAgentResponse(
            agent=agent_message(agent, state_of(agent)),
            epoch=agent.epoch,
            heartbeat_interval=self._interval,
            lease_duration=self._duration,
        )

    async def Heartbeat(
        self, request: pb.HeartbeatRequest, context: Context
    ) -> pb.HeartbeatResponse:
        """Renew leases, each judged by itself."""
        caller = organization()
        return pb.HeartbeatResponse(
            results=[
                pb.BeatResult(
                    agent=beat.agent, status=self._renew(key_of(caller, beat.agent), beat)
                )
                for beat in request.beats
            ],
            heartbeat_interval=self._interval,
        )

    async def DeregisterAgent(
        self, request: pb.DeregisterAgentRequest, context: Context
    ) -> pb.DeregisterAgentResponse:
        """End a registration at once."""
        key = key_of(organization(), request.agent)
        await self._parts.changes.remove(Removal(key=key, epoch=request.epoch))
        return pb.DeregisterAgentResponse()

    def _renew(self, key: AgentKey, beat: pb.Beat) -> status_pb2.Status:
        load = Load(in_flight=beat.in_flight, draining=beat.draining)
        if self._parts.beats.take(key, beat.epoch, load):
            return status_pb2.Status()
        return to_status(lease_gone(key))

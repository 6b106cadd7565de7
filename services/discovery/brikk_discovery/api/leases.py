"""How agents register and stay registered, and how operators take them out."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Final

from brikk.discovery.v1 import agent_pb2
from brikk.discovery.v1 import discovery_service_pb2 as pb
from brikk_discovery.api.messages import STATES, agent_message, definition_of, key_of
from brikk_discovery.api.parts import Context, Methods
from brikk_discovery.domain.agent import AgentKey, Load, OrderedState, check
from brikk_discovery.domain.lease import Beat, Registration, Removal
from brikk_discovery.domain.order import Command
from brikk_discovery.domain.ranking import State, state_of
from brikk_discovery.domain.terms import Terms
from brikk_shared.call import current_call, organization
from brikk_shared.errors import BrikkError, invalid_field
from brikk_shared.status import to_status
from brikk_shared.times import to_duration

_ORDERS: Final = {
    agent_pb2.Agent.STATE_DRAINING: OrderedState.DRAINING,
    agent_pb2.Agent.STATE_MAINTENANCE: OrderedState.MAINTENANCE,
    agent_pb2.Agent.STATE_READY: None,
}


class LeaseMethods(Methods):
    """Changes are answered once they are committed."""

    async def RegisterAgent(
        self, request: pb.RegisterAgentRequest, context: Context
    ) -> pb.RegisterAgentResponse:
        """Register an agent with all its services, or replace what it had registered."""
        key = AgentKey(organization(), request.agent_id)
        if request.agent.name not in ("", key.name):
            raise invalid_field("agent.name", f"must be {key.name}, or absent")
        definition = definition_of(request.agent)
        check(definition)
        await self._parts.egress.check_endpoint(definition.endpoint, field="agent.endpoint")
        agent = await self._parts.changes.register(
            Registration(key=key, incarnation=request.incarnation, definition=definition)
        )
        terms = self._parts.pace.terms
        return pb.RegisterAgentResponse(
            agent=agent_message(agent, state_of(agent)),
            epoch=agent.epoch,
            heartbeat_interval=to_duration(terms.heartbeat_interval),
            lease_duration=to_duration(terms.expire_after),
        )

    async def Heartbeat(
        self, request: pb.HeartbeatRequest, context: Context
    ) -> pb.HeartbeatResponse:
        """Renew leases, each judged by itself."""
        results = await self._parts.beats.take(_beats_of(request))
        return _answer(request, results, self._parts.pace.terms)

    async def StreamHeartbeats(
        self, requests: AsyncIterator[pb.HeartbeatRequest], context: Context
    ) -> AsyncGenerator[pb.HeartbeatResponse, None]:
        """Renew leases for as long as the caller beats on.

        Most say what they said before: that is read once, and so is its answer written.
        """
        with self._parts.streams.take(organization()):
            asked, beats = pb.HeartbeatRequest(), list[Beat]()
            told, answer = object(), pb.HeartbeatResponse()
            async for request in requests:
                if request is not asked:
                    asked, beats = request, _beats_of(request)
                results, terms = await self._parts.beats.take(beats), self._parts.pace.terms
                if (asked, results, terms) != told:
                    told = (asked, results, terms)
                    answer = _answer(request, results, terms)
                yield answer

    async def DeregisterAgent(
        self, request: pb.DeregisterAgentRequest, context: Context
    ) -> pb.DeregisterAgentResponse:
        """End a registration at once."""
        key = key_of(organization(), request.agent)
        await self._parts.changes.remove(Removal(key=key, epoch=request.epoch))
        return pb.DeregisterAgentResponse()

    async def SetAgentState(
        self, request: pb.SetAgentStateRequest, context: Context
    ) -> agent_pb2.Agent:
        """Drain an agent, take it out for maintenance, or resume it."""
        if request.state not in _ORDERS:
            raise invalid_field(
                "state", "must be STATE_DRAINING, STATE_MAINTENANCE, or STATE_READY to resume"
            )
        agent = await self._parts.changes.command(
            Command(
                key=key_of(organization(), request.name),
                state=_ORDERS[request.state],
                reason=request.reason,
                by=current_call().identity.subject,
            )
        )
        return agent_message(agent, state_of(agent))


def _beats_of(request: pb.HeartbeatRequest) -> list[Beat]:
    caller = organization()
    return [
        Beat(key=key_of(caller, beat.agent), epoch=beat.epoch, load=_load_of(beat))
        for beat in request.beats
    ]


def _load_of(beat: pb.Beat) -> Load:
    return Load(
        in_flight=beat.in_flight,
        draining=beat.draining,
        ready=beat.ready if beat.HasField("ready") else True,
        capacity=beat.capacity if beat.HasField("capacity") else None,
    )


def _answer(
    request: pb.HeartbeatRequest, results: Sequence[State | BrikkError], terms: Terms
) -> pb.HeartbeatResponse:
    return pb.HeartbeatResponse(
        results=[
            _result(beat.agent, result) for beat, result in zip(request.beats, results, strict=True)
        ],
        heartbeat_interval=to_duration(terms.heartbeat_interval),
        lease_duration=to_duration(terms.expire_after),
    )


def _result(agent: str, result: State | BrikkError) -> pb.BeatResult:
    if isinstance(result, BrikkError):
        return pb.BeatResult(agent=agent, status=to_status(result))
    return pb.BeatResult(agent=agent, state=STATES[result])

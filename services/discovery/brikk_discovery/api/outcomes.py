"""What callers tell of the agents that they called."""

from __future__ import annotations

from brikk.discovery.v1 import discovery_service_pb2 as pb
from brikk_discovery.api.messages import key_of
from brikk_discovery.api.parts import Context, Methods
from brikk_discovery.domain.outcome import Outcome
from brikk_shared.call import organization


class OutcomeMethods(Methods):
    """Reports are taken at once, and shared with other replicas soon after."""

    async def ReportOutcomes(
        self, request: pb.ReportOutcomesRequest, context: Context
    ) -> pb.ReportOutcomesResponse:
        """Take in what a caller experienced; what it tells of agents that are gone is ignored."""
        caller = organization()
        for outcome in request.outcomes:
            self._parts.outcomes.report(key_of(caller, outcome.agent), _outcome_of(outcome))
        return pb.ReportOutcomesResponse()


def _outcome_of(message: pb.Outcome) -> Outcome:
    return Outcome(
        capability=message.capability,
        successes=message.successes,
        failures=message.failures,
        latency=message.latency.ToTimedelta() if message.HasField("latency") else None,
        quality=message.quality if message.HasField("quality") else None,
    )

"""AlertingService: what a rule would have found."""

from __future__ import annotations

from datetime import UTC, timedelta
from typing import Any, Final

import grpc

from brikk.monitoring.v1 import alerting_service_pb2 as pb
from brikk_monitoring.api.access import readable_organization
from brikk_monitoring.api.alert_messages import read_definition, transition_message
from brikk_monitoring.api.parts import Methods
from brikk_monitoring.domain.alert import Alert
from brikk_monitoring.domain.evaluation import evaluate
from brikk_monitoring.domain.question import MOST_POINTS
from brikk_monitoring.domain.rule import Rule
from brikk_monitoring.runtime.reading import Asked, read
from brikk_shared.errors import invalid_field
from brikk_shared.ids import new_id

_MOST_BUCKETS: Final = 50_000
"""Added up for one call: others wait meanwhile."""
_DEFAULT_RANGE: Final = timedelta(hours=1)


class PreviewMethods(Methods):
    """Evaluates rules over the past."""

    async def PreviewRule(
        self, request: pb.PreviewRuleRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.PreviewRuleResponse:
        """Evaluate a rule again and again, and keep nothing."""
        definition, now = read_definition(request.alert_rule), self._parts.clock.now()
        end = min(request.end_time.ToDatetime(UTC), now) if request.HasField("end_time") else now
        start = (
            request.start_time.ToDatetime(UTC)
            if request.HasField("start_time")
            else end - _DEFAULT_RANGE
        )
        if start > end:
            raise invalid_field("start_time", "must lie before end_time")
        count = (end - start) // definition.interval + 1
        if count > MOST_POINTS:
            raise invalid_field("start_time", f"would make more than {MOST_POINTS} evaluations")
        organization = readable_organization()
        rule = Rule(
            uid=new_id(),
            organization=organization,
            id="preview",
            definition=definition,
            create_time=start,
            update_time=start,
        )
        moments = [end - each * definition.interval for each in reversed(range(count))]
        [held] = await self._parts.policies.held([(organization, definition.inquiry.metric)])
        asked = [
            Asked(organization=organization, definition=definition, end=moment, now=now, held=held)
            for moment in moments
        ]
        alerts: dict[str, Alert] = {}
        answer = pb.PreviewRuleResponse(evaluations=count)
        readings = await read(self._parts.buckets, asked, most=_MOST_BUCKETS)
        for moment, reading in zip(moments, readings, strict=True):
            for changed in evaluate(rule, reading, alerts, moment, new_id):
                alerts[changed.alert.fingerprint] = changed.alert
                if changed.transition is not None:
                    answer.transitions.add(
                        labels=changed.alert.labels,
                        transition=transition_message(changed.transition),
                    )
        return answer

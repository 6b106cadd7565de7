"""Rules that suit most organisations, and those for whoever runs the services."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Final

from brikk_monitoring.domain import health
from brikk_monitoring.domain.question import Aggregation
from brikk_monitoring.domain.rule import (
    Absence,
    BurnRate,
    Definition,
    Inquiry,
    NoData,
    Severity,
    Side,
    Threshold,
)
from brikk_monitoring.domain.series import Dimension, Metric

_MINUTE: Final = timedelta(minutes=1)

DEFAULTS: Final[Mapping[str, Definition]] = MappingProxyType(
    {
        "executions-failing": Definition(
            inquiry=Inquiry(metric=Metric.EXECUTIONS, group_by=(Dimension.WORKFLOW,)),
            condition=BurnRate(objective=0.95),
            pending_for=2 * _MINUTE,
            severity=Severity.CRITICAL,
            description="More than 5 % of the executions of a workflow fail, lastingly.",
            annotations={
                "summary": "Executions of {{ labels.workflow }} fail {{ value }} times as often"
                " as 5 % allow"
            },
        ),
        "agent-slow": Definition(
            inquiry=Inquiry(
                metric=Metric.CALLS, aggregation=Aggregation.P95, group_by=(Dimension.AGENT,)
            ),
            condition=Threshold(side=Side.ABOVE, value=30_000, recovery=20_000),
            pending_for=5 * _MINUTE,
            no_data=NoData.OK,
            description="One of twenty calls of an agent takes more than 30 seconds.",
            annotations={"summary": "{{ labels.agent }} takes {{ value }} ms (p95)"},
        ),
        "no-agents": Definition(
            inquiry=Inquiry(
                metric=Metric.STEPS, error_reason="NO_AGENT", group_by=(Dimension.WORKFLOW,)
            ),
            condition=Threshold(side=Side.ABOVE, value=0),
            keep_firing_for=5 * _MINUTE,
            no_data=NoData.OK,
            severity=Severity.CRITICAL,
            description="Steps failed because no agent offers what they need.",
            annotations={
                "summary": "{{ value }} steps of {{ labels.workflow }} found no agent in 5 minutes"
            },
        ),
        "dead-letters": Definition(
            inquiry=Inquiry(metric=Metric.DELIVERIES, error_reason="*"),
            condition=Threshold(side=Side.ABOVE, value=0),
            keep_firing_for=10 * _MINUTE,
            no_data=NoData.OK,
            description="Deliveries of webhooks were given up.",
            annotations={"summary": "{{ value }} deliveries were given up in 5 minutes"},
        ),
        "steps-waiting": Definition(
            inquiry=Inquiry(
                metric=Metric.STEPS, aggregation=Aggregation.P95, group_by=(Dimension.WORKFLOW,)
            ),
            condition=Threshold(side=Side.ABOVE, value=300_000, recovery=200_000),
            pending_for=5 * _MINUTE,
            no_data=NoData.OK,
            description="One of twenty steps takes more than 5 minutes, its time in the queue and"
            " all attempts included.",
            annotations={"summary": "Steps of {{ labels.workflow }} take {{ value }} ms (p95)"},
        ),
    }
)
"""By id."""

SYSTEM_DEFAULTS: Final[Mapping[str, Definition]] = MappingProxyType(
    {
        "service-down": Definition(
            inquiry=Inquiry(
                metric=health.CPU_PERCENT, window=2 * _MINUTE, group_by=(Dimension.SERVICE,)
            ),
            condition=Absence(),
            severity=Severity.CRITICAL,
            description="A service has not reported for 2 minutes.",
            annotations={"summary": "{{ labels.service }} does not report"},
        ),
        "service-lagging": Definition(
            inquiry=Inquiry(
                metric=health.LOOP_LAG_MS,
                aggregation=Aggregation.P99,
                group_by=(Dimension.SERVICE,),
            ),
            condition=Threshold(side=Side.ABOVE, value=1000, recovery=500),
            pending_for=5 * _MINUTE,
            description="The event loop of a service lags by more than a second.",
            annotations={"summary": "{{ labels.service }} lags by {{ value }} ms (p99)"},
        ),
    }
)
"""Of the organisation of the services, by id."""

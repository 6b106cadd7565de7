"""The types of events that the services of the suite announce, for those who subscribe to them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from brikk_webhooks.domain.cloudevent import TEST_TYPE

EVENT_TYPES: Mapping[str, str] = MappingProxyType(
    {
        "brikk.agent.deregistered.v1": "An agent said good-bye.",
        "brikk.agent.draining.v1": "An operator drains an agent: it gets no new work.",
        "brikk.agent.expired.v1": "An agent went silent, and its lease ran out.",
        "brikk.agent.maintenance.v1": "An operator took an agent out for maintenance.",
        "brikk.agent.registered.v1": "An agent registered, or changed what it offers.",
        "brikk.agent.resumed.v1": "An operator gives work to an agent again.",
        "brikk.alert.acknowledged.v1": "Somebody looks after an alert.",
        "brikk.alert.firing.v1": "An alert fires: its condition has held for long enough.",
        "brikk.alert.passed.v1": "An alert that was pending is gone; it never fired.",
        "brikk.alert.pending.v1": "The condition of an alert holds, not yet for long enough.",
        "brikk.alert.resolved.v1": "An alert that fired is resolved.",
        "brikk.alert.snoozed.v1": "Somebody lets nobody be told of an alert for a while.",
        "brikk.custom.*": "What `emit` steps of workflows announce: `brikk.custom.TYPE.v1`.",
        "brikk.execution.cancelled.v1": "An execution was cancelled.",
        "brikk.execution.failed.v1": "An execution failed.",
        "brikk.execution.paused.v1": "An execution was paused.",
        "brikk.execution.quarantined.v1": "An execution stands still until somebody resumes it.",
        "brikk.execution.resumed.v1": "An execution goes on.",
        "brikk.execution.started.v1": "An execution started.",
        "brikk.execution.succeeded.v1": "An execution succeeded.",
        "brikk.execution.terminated.v1": "An execution was terminated.",
        "brikk.step.cancelled.v1": "A step was cancelled.",
        "brikk.step.failed.v1": "A step failed.",
        "brikk.step.retrying.v1": "An attempt of a step failed, and another one follows.",
        "brikk.step.skipped.v1": "A step was skipped.",
        "brikk.step.succeeded.v1": "A step succeeded.",
        TEST_TYPE: "Somebody tries a webhook, which gets it whatever it subscribed to.",
    }
)
"""Each with what it tells of, by name."""

"""What the registry tells its operators."""

from __future__ import annotations

from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge

from brikk_discovery.domain.agent import Doubt
from brikk_discovery.domain.ranking import State
from brikk_discovery.runtime.news import Cause
from brikk_discovery.runtime.registry import Registry


class Metrics:
    """The metrics of discovery. No organisation and no agent is ever a label."""

    def __init__(self, collector: CollectorRegistry) -> None:
        self._agents = Gauge(
            "brikk_discovery_agents", "Live agents by state.", ["state"], registry=collector
        )
        self.registrations = Counter(
            "brikk_discovery_registrations",
            "Registrations accepted, repeated ones included.",
            registry=collector,
        )
        self.beats = Counter(
            "brikk_discovery_beats",
            "Heartbeats by what became of them: renewed, or refused because the lease is gone.",
            ["result"],
            registry=collector,
        )
        self.expired = Counter(
            "brikk_discovery_expired",
            "Agents removed because their heartbeats were missing.",
            registry=collector,
        )
        self.suspected = Counter(
            "brikk_discovery_suspected",
            "Agents that became suspect, by why: silent, unreachable, or flapping.",
            ["reason"],
            registry=collector,
        )
        for doubt in Doubt:
            if doubt is not Doubt.NONE:
                self.suspected.labels(doubt)
        self.held = Gauge(
            "brikk_discovery_held",
            "Agents whose leases have ended, and that are not removed because too many have.",
            registry=collector,
        )
        self.probes = Counter(
            "brikk_discovery_probes",
            "Probes of agents in doubt by what came of them: answered, or failed.",
            ["result"],
            registry=collector,
        )
        self.sweeps = Counter(
            "brikk_discovery_sweeps",
            "Searches for agents that fell silent; one replica makes them for all.",
            registry=collector,
        )
        self.late_sweeps = Counter(
            "brikk_discovery_late_sweeps",
            "Sweeps so late that leases were extended, because heartbeats may have been missed.",
            registry=collector,
        )
        self.resolutions = Counter(
            "brikk_discovery_resolutions",
            "Questions for a capability by answer: found, or empty when nobody offers it.",
            ["result"],
            registry=collector,
        )
        self.watchers = Gauge(
            "brikk_discovery_watchers", "Streams that watch capabilities.", registry=collector
        )
        self.heartbeat_streams = Gauge(
            "brikk_discovery_heartbeat_streams",
            "Streams on which agents beat.",
            registry=collector,
        )
        self.resyncs = Counter(
            "brikk_discovery_resyncs",
            "Watchers that had to begin anew, by cause.",
            ["cause"],
            registry=collector,
        )
        for cause in Cause:
            self.resyncs.labels(cause)
        self.changes_sent = Counter(
            "brikk_discovery_changes_sent",
            "Changes of candidates sent to watchers, one for each watcher.",
            registry=collector,
        )

    def watch(self, registry: Registry[object]) -> None:
        """Count the registry's agents at each scrape."""
        for state in State:
            self._agents.labels(state).set_function(partial(registry.count, state))

"""What the methods of DiscoveryService work with, and the servicer that their files extend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc

from brikk.discovery.v1.discovery_service_pb2_grpc import DiscoveryServiceServicer
from brikk_discovery.api.candidates import Messages, Offered
from brikk_discovery.runtime.beats import Beats
from brikk_discovery.runtime.changes import Changes
from brikk_discovery.runtime.metrics import Metrics
from brikk_discovery.runtime.outcomes import Outcomes
from brikk_discovery.runtime.pace import Pace
from brikk_discovery.runtime.registry import Registry
from brikk_discovery.runtime.search import Search
from brikk_discovery.runtime.seats import Seats
from brikk_discovery.runtime.watchers import Watchers
from brikk_shared.egress import Egress

Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """The running parts of the service that answer its methods."""

    registry: Registry[Offered]
    changes: Changes
    beats: Beats
    streams: Seats
    """For those on which agents beat."""
    outcomes: Outcomes
    search: Search
    watchers: Watchers[Offered, Messages]
    pace: Pace
    egress: Egress
    metrics: Metrics


class Methods(DiscoveryServiceServicer):
    """Some methods of the service; each file of this room adds those of one subject."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

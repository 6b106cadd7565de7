"""What the methods of AlertingService share."""

from __future__ import annotations

from dataclasses import dataclass

from brikk.monitoring.v1.alerting_service_pb2_grpc import AlertingServiceServicer
from brikk_monitoring.runtime.evaluator import Evaluator
from brikk_monitoring.store.alerts import Alerts
from brikk_monitoring.store.buckets import Buckets
from brikk_monitoring.store.policies import Policies
from brikk_monitoring.store.telling import Telling
from brikk_shared.clock import Clock
from brikk_shared.database import Database


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """What the servicer stands on."""

    database: Database
    alerts: Alerts
    buckets: Buckets
    policies: Policies
    evaluator: Evaluator
    telling: Telling
    rule_quota: int
    clock: Clock


class Methods(AlertingServiceServicer):
    """A noun's methods; `AlertingServicer` is all of them."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

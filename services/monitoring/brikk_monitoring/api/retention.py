"""MonitoringService: how long measurements are held, and what that costs."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.empty_pb2 import Empty

from brikk.monitoring.v1.metrics_pb2 import (
    CreateRetentionPolicyRequest,
    DeleteRetentionPolicyRequest,
    GetRetentionPolicyRequest,
    ListRetentionPoliciesRequest,
    ListRetentionPoliciesResponse,
    ListSeriesRequest,
    ListSeriesResponse,
    MetricSeries,
    RetentionPolicy,
    UpdateRetentionPolicyRequest,
)
from brikk_monitoring.api.access import readable_organization
from brikk_monitoring.api.metrics import IngestionMetrics
from brikk_monitoring.api.recording import RecordingMethods
from brikk_monitoring.domain.series import parse_series
from brikk_monitoring.domain.window import Retention
from brikk_monitoring.store.apply import Limits
from brikk_monitoring.store.intake import Intake
from brikk_monitoring.store.inventory import Inventory, Listed
from brikk_monitoring.store.policies import DEFAULT, Policies
from brikk_shared.clock import Clock
from brikk_shared.errors import Aborted, AlreadyExists, Reason, ResourceExhausted, not_found
from brikk_shared.pagination import cut, page_of

_COLLECTION: Final = "retentionPolicies/"
_MOST_POLICIES: Final = 50


class RetentionMethods(RecordingMethods):
    """Keeps the retention policies of organisations, and lists what they hold."""

    def __init__(
        self,
        intake: Intake,
        policies: Policies,
        inventory: Inventory,
        limits: Limits,
        metrics: IngestionMetrics,
        clock: Clock,
    ) -> None:
        super().__init__(intake, metrics, clock)
        self._policies = policies
        self._inventory = inventory
        self._limits = limits

    async def CreateRetentionPolicy(
        self, request: CreateRetentionPolicyRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> RetentionPolicy:
        """Create a policy, unless there is another one of its metric."""
        organization, metric = readable_organization(), request.retention_policy_id
        policy = _read(request.retention_policy)
        policies = await self._policies.read(organization)
        if metric not in policies and len(policies) >= _MOST_POLICIES:
            raise ResourceExhausted(
                Reason.QUOTA_EXCEEDED,
                f"there are {_MOST_POLICIES} retention policies, and no more may be",
                metadata={"quota": "retention_policies", "limit": str(_MOST_POLICIES)},
            )
        if not await self._policies.replace(organization, metric, None, policy):
            raise AlreadyExists(
                Reason.RESOURCE_EXISTS,
                f"{_COLLECTION}{metric} exists and says otherwise",
                metadata={"resource": _COLLECTION + metric},
            )
        return _message(metric, policy)

    async def GetRetentionPolicy(
        self, request: GetRetentionPolicyRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> RetentionPolicy:
        """Give a policy."""
        return _message(*await self._find(request.name))

    async def ListRetentionPolicies(
        self, request: ListRetentionPoliciesRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> ListRetentionPoliciesResponse:
        """List the policies by name."""
        page = page_of(request)
        policies = sorted((await self._policies.read(readable_organization())).items())
        found = [(metric, policy) for metric, policy in policies if metric > page.cursor]
        listed, token = cut(request, page, found, lambda each: each[0])
        return ListRetentionPoliciesResponse(
            retention_policies=[_message(metric, policy) for metric, policy in listed],
            next_page_token=token,
        )

    async def UpdateRetentionPolicy(
        self, request: UpdateRetentionPolicyRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> RetentionPolicy:
        """Change a policy, unless another change came first."""
        metric, before = await self._find(request.name)
        after = _read(request.retention_policy)
        if (request.etag and request.etag != _etag(before)) or not await self._policies.replace(
            readable_organization(), metric, before, after
        ):
            raise Aborted(
                Reason.ETAG_MISMATCH,
                f"{request.name} was changed meanwhile: read it again",
                metadata={"resource": request.name},
            )
        return _message(metric, after)

    async def DeleteRetentionPolicy(
        self, request: DeleteRetentionPolicyRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> Empty:
        """Delete a policy, whatever it says by now."""
        metric, _ = await self._find(request.name)
        await self._policies.remove(readable_organization(), metric)
        return Empty()

    async def ListSeries(
        self, request: ListSeriesRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> ListSeriesResponse:
        """List the series by name, with what they cost."""
        organization, page = readable_organization(), page_of(request)
        names = await self._inventory.names(organization)
        found = [
            (name, time)
            for name, time in names
            if name > page.cursor and request.metric in ("", parse_series(name).metric)
        ]
        shown, token = cut(request, page, found, lambda each: each[0])
        policies = await self._policies.read(organization)
        default = policies.get(DEFAULT, self._limits.retention)
        listed = await self._inventory.weigh(
            organization, shown, lambda metric: policies.get(metric, default)
        )
        return ListSeriesResponse(
            series=[_series(each) for each in listed],
            next_page_token=token,
            series_count=len(names),
            series_limit=self._limits.series_cap,
        )

    async def _find(self, name: str) -> tuple[str, Retention]:
        metric = name.removeprefix(_COLLECTION)
        policy = (await self._policies.read(readable_organization())).get(metric)
        if policy is None:
            raise not_found(name)
        return metric, policy


def _series(listed: Listed) -> MetricSeries:
    series = parse_series(listed.name)
    message = MetricSeries(
        series=listed.name,
        metric=series.metric,
        dimensions=series.dimensions,
        buckets=listed.buckets,
        estimated_bytes=listed.size,
    )
    message.last_time.FromDatetime(listed.time)
    return message


def _read(message: RetentionPolicy) -> Retention:
    return Retention(
        minute=timedelta(seconds=message.minutes.seconds),
        hour=timedelta(seconds=message.hours.seconds),
        day=timedelta(seconds=message.days.seconds),
    )


def _message(metric: str, policy: Retention) -> RetentionPolicy:
    return RetentionPolicy(
        name=_COLLECTION + metric,
        minutes=Duration(seconds=policy.minute // timedelta(seconds=1)),
        hours=Duration(seconds=policy.hour // timedelta(seconds=1)),
        days=Duration(seconds=policy.day // timedelta(seconds=1)),
        etag=_etag(policy),
        buckets_per_series=policy.buckets,
    )


def _etag(policy: Retention) -> str:
    lengths = (policy.minute, policy.hour, policy.day)
    return "-".join(str(each // timedelta(seconds=1)) for each in lengths)

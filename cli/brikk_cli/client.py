"""The four services as commands see them: stubs, a deadline on every call, one kind of error."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self, TypeVar

import grpc

from brikk.discovery.v1.discovery_service_pb2 import (
    CapabilityResync,
    WatchCapabilitiesRequest,
    WatchCapabilitiesResponse,
)
from brikk.discovery.v1.discovery_service_pb2_grpc import DiscoveryServiceStub
from brikk.monitoring.v1.alerting_service_pb2 import WatchAlertsRequest, WatchAlertsResponse
from brikk.monitoring.v1.alerting_service_pb2_grpc import AlertingServiceStub
from brikk.monitoring.v1.monitoring_service_pb2_grpc import MonitoringServiceStub
from brikk.webhooks.v1.webhook_service_pb2_grpc import WebhookServiceStub
from brikk.workflow.v1.execution_service_pb2 import (
    ExportHistoryRequest,
    WatchExecutionRequest,
    WatchExecutionResponse,
)
from brikk.workflow.v1.execution_service_pb2_grpc import ExecutionServiceStub
from brikk.workflow.v1.schedule_service_pb2_grpc import ScheduleServiceStub
from brikk.workflow.v1.workflow_service_pb2_grpc import WorkflowServiceStub
from brikk_agent.connection import Connection, NotConnected, Service
from brikk_cli.failures import CommandError, ExitCode
from brikk_shared.clock import SystemClock
from brikk_shared.errors import DeadlineExceeded, Unavailable
from brikk_shared.status import from_rpc_error

if TYPE_CHECKING:  # these names stand in the stubs' type files only
    from brikk.discovery.v1.discovery_service_pb2_grpc import DiscoveryServiceAsyncStub
    from brikk.monitoring.v1.alerting_service_pb2_grpc import AlertingServiceAsyncStub
    from brikk.monitoring.v1.monitoring_service_pb2_grpc import MonitoringServiceAsyncStub
    from brikk.webhooks.v1.webhook_service_pb2_grpc import WebhookServiceAsyncStub
    from brikk.workflow.v1.execution_service_pb2_grpc import ExecutionServiceAsyncStub
    from brikk.workflow.v1.schedule_service_pb2_grpc import ScheduleServiceAsyncStub
    from brikk.workflow.v1.workflow_service_pb2_grpc import WorkflowServiceAsyncStub

CALL_TIMEOUT = timedelta(seconds=10)
WATCH_TIMEOUT = timedelta(minutes=5)
"""After this long a watch goes on in a new call."""
WATCH_PATIENCE = timedelta(seconds=30)
"""How long a command that watches outlives a service that does not answer."""

_RETRY_INTERVAL = timedelta(milliseconds=100)
_LARGEST_PAGE = 500

Request = TypeVar("Request")
Answer = TypeVar("Answer")
Item = TypeVar("Item")


class _PagedRequest(Protocol):
    page_size: int
    page_token: str


class _PagedAnswer(Protocol):
    next_page_token: str


PagedRequest = TypeVar("PagedRequest", bound=_PagedRequest)
PagedAnswer = TypeVar("PagedAnswer", bound=_PagedAnswer)


class Services:
    """Calls the services of one suite with the user's token; open from `async with` to its end.

    A service that does not answer fails the call at once, or after `patience`: with patience,
    requests outlive a restart of the service, so those with effects should carry a request id.
    """

    def __init__(self, connection: Connection, *, patience: timedelta = timedelta(0)) -> None:
        self._connection = connection
        self._patience = patience.total_seconds()
        self._clock = SystemClock()
        self._channels: dict[Service, grpc.aio.Channel] = {}

    @classmethod
    def at(
        cls, home: Path, *, patience: timedelta = timedelta(0), token: str | None = None
    ) -> Services:
        """The suite that `brikk up` noted down in this folder, unless the environment says other.

        Calls go with `token` if it is given. Raises CommandError when nothing says where it is.
        """
        given = {"BRIKK_HOME": str(home)} | ({"BRIKK_TOKEN": token} if token else {})
        try:
            return cls(Connection.load({**os.environ, **given}), patience=patience)
        except NotConnected as error:
            raise CommandError(str(error), exit_code=ExitCode.UNAVAILABLE) from None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        for channel in self._channels.values():
            await channel.close()

    @cached_property
    def agents(self) -> DiscoveryServiceAsyncStub:
        """The registry of agents."""
        return DiscoveryServiceStub(self._channel("discovery"))

    @cached_property
    def workflows(self) -> WorkflowServiceAsyncStub:
        """Workflows and their versions."""
        return WorkflowServiceStub(self._channel("workflow"))

    @cached_property
    def executions(self) -> ExecutionServiceAsyncStub:
        """Runs of workflows."""
        return ExecutionServiceStub(self._channel("workflow"))

    @cached_property
    def schedules(self) -> ScheduleServiceAsyncStub:
        """Schedules of workflows."""
        return ScheduleServiceStub(self._channel("workflow"))

    @cached_property
    def webhooks(self) -> WebhookServiceAsyncStub:
        """Webhooks and their deliveries."""
        return WebhookServiceStub(self._channel("webhooks"))

    @cached_property
    def monitoring(self) -> MonitoringServiceAsyncStub:
        """Measurements."""
        return MonitoringServiceStub(self._channel("monitoring"))

    @cached_property
    def alerting(self) -> AlertingServiceAsyncStub:
        """Alert rules and alerts."""
        return AlertingServiceStub(self._channel("monitoring"))

    async def call(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[Request, Answer],
        request: Request,
        *,
        timeout: timedelta = CALL_TIMEOUT,
    ) -> Answer:
        """One call with a deadline; raises the BrikkError that the service answered with."""
        give_up = self._clock.monotonic() + self._patience
        while True:
            try:
                return await method(
                    request, timeout=timeout.total_seconds(), wait_for_ready=self._patience > 0
                )
            except grpc.aio.AioRpcError as error:
                failure = from_rpc_error(error)
                down = isinstance(failure, (Unavailable, DeadlineExceeded))
                if not down or self._clock.monotonic() >= give_up:
                    raise failure from None
            await self._clock.sleep(_RETRY_INTERVAL)

    async def pages(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[PagedRequest, PagedAnswer],
        request: PagedRequest,
        items: Callable[[PagedAnswer], Iterable[Item]],
        *,
        limit: int,
    ) -> list[Item]:
        """The first `limit` items of a list, over as many pages as it takes."""
        found: list[Item] = []
        while len(found) < limit:
            request.page_size = min(limit - len(found), _LARGEST_PAGE)
            answer = await self.call(method, request)
            found.extend(items(answer))
            request.page_token = answer.next_page_token
            if not request.page_token:
                break
        return found

    def watch(self, name: str) -> AsyncIterator[WatchExecutionResponse]:
        """What happens to an execution, from its first history entry to its last."""
        request = WatchExecutionRequest(name=name)

        def resume(answer: WatchExecutionResponse) -> None:
            if answer.entries:
                request.after_sequence = answer.entries[-1].sequence

        return self._resumed(self.executions.WatchExecution, request, resume)

    async def export(self, name: str) -> AsyncIterator[bytes]:
        """The file of an execution with its history, part by part."""
        request = ExportHistoryRequest(name=name)
        try:
            async for part in self.executions.ExportHistory(
                request, timeout=WATCH_TIMEOUT.total_seconds()
            ):
                yield part.data
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from None

    def watch_capabilities(
        self, capabilities: Iterable[str]
    ) -> AsyncIterator[WatchCapabilitiesResponse]:
        """Who offers some capabilities, and each change; it does not end.

        A snapshot that breaks off is followed by a resync of our own: the next one begins anew.
        """
        request = WatchCapabilitiesRequest(capabilities=capabilities)
        snapshot_coming = False

        def resume(answer: WatchCapabilitiesResponse) -> None:
            nonlocal snapshot_coming
            snapshot_coming = answer.HasField("snapshot") and not answer.snapshot.complete
            if answer.resume_token or answer.HasField("resync"):
                request.resume_token = answer.resume_token

        def broken() -> Iterator[WatchCapabilitiesResponse]:
            nonlocal snapshot_coming
            if snapshot_coming:
                snapshot_coming = False
                reason = CapabilityResync(reason="the connection broke within the snapshot")
                yield WatchCapabilitiesResponse(resync=reason)

        return self._resumed(self.agents.WatchCapabilities, request, resume, broken)

    def watch_alerts(self) -> AsyncIterator[WatchAlertsResponse]:
        """The alerts that are not resolved, and each that changes; it does not end."""
        request = WatchAlertsRequest()

        def resume(answer: WatchAlertsResponse) -> None:
            request.resume_token = answer.resume_token

        return self._resumed(self.alerting.WatchAlerts, request, resume)

    async def _resumed(
        self,
        method: grpc.aio.UnaryStreamMultiCallable[Request, Answer],
        request: Request,
        resume: Callable[[Answer], None],
        broken: Callable[[], Iterable[Answer]] = tuple,
    ) -> AsyncIterator[Answer]:
        """The answers of a stream; `resume` has the request go on after each.

        A stream that breaks is resumed where it broke, within the patience since its last answer.
        What `broken` says of that comes between the answers.
        """
        give_up = self._clock.monotonic() + self._patience
        while True:
            stream = method(
                request, timeout=WATCH_TIMEOUT.total_seconds(), wait_for_ready=self._patience > 0
            )
            try:
                async for answer in stream:
                    give_up = self._clock.monotonic() + self._patience
                    resume(answer)
                    yield answer
            except grpc.aio.AioRpcError as error:
                failure = from_rpc_error(error)
                if not isinstance(failure, DeadlineExceeded):
                    if not isinstance(failure, Unavailable) or self._clock.monotonic() >= give_up:
                        raise failure from None
                    await self._clock.sleep(_RETRY_INTERVAL)
            else:
                return
            for answer in broken():
                yield answer

    def _channel(self, service: Service) -> grpc.aio.Channel:
        if service not in self._channels:
            try:
                self._channels[service] = self._connection.channel(service)
            except NotConnected as error:
                raise CommandError(str(error), exit_code=ExitCode.UNAVAILABLE) from None
        return self._channels[service]

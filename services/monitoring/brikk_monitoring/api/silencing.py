"""AlertingService: silences and maintenance windows."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import grpc
from google.protobuf.empty_pb2 import Empty

from brikk.monitoring.v1 import silence_pb2 as pb
from brikk_monitoring.api.access import readable_organization
from brikk_monitoring.api.alert_messages import alert_message
from brikk_monitoring.api.keeping import Form, Keeper
from brikk_monitoring.api.parts import Methods
from brikk_monitoring.api.telling_messages import (
    read_matchers,
    read_silence,
    read_window,
    silence_message,
    window_message,
)
from brikk_monitoring.domain.alert import AlertState
from brikk_monitoring.domain.maintenance import MaintenanceWindow
from brikk_monitoring.domain.matcher import check_matchers, match_all
from brikk_monitoring.domain.silence import Silence
from brikk_monitoring.store.settings import MAINTENANCE_WINDOWS, SILENCES
from brikk_shared.call import current_call

_MOST_LOOKED_AT: Final = 10_000
_MOST_SHOWN: Final = 500
_FIRES: Final = tuple(state for state in AlertState if state.fires)


def _read_silence(message: pb.Silence, before: Silence | None, now: datetime) -> Silence:
    creator = current_call().identity.subject if before is None else before.creator
    return read_silence(message, creator, now)


_SILENCE: Final = Form(
    kind=SILENCES,
    field="silence",
    write=silence_message,
    read=_read_silence,
    new=lambda message: pb.CreateSilenceRequest(silence=message),
)
_WINDOW: Final[Form[MaintenanceWindow, pb.MaintenanceWindow]] = Form(
    kind=MAINTENANCE_WINDOWS,
    field="maintenance_window",
    write=window_message,
    read=lambda message, _before, _now: read_window(message),
    new=lambda message: pb.CreateMaintenanceWindowRequest(maintenance_window=message),
)


class SilenceMethods(Methods):
    """Keeps silences, and says of which alerts nobody would be told."""

    async def CreateSilence(
        self, request: pb.CreateSilenceRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.Silence:
        """Create a silence."""
        return await self._silences.create(request)

    async def GetSilence(
        self, request: pb.GetSilenceRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.Silence:
        """Return a silence."""
        return await self._silences.get(request)

    async def ListSilences(
        self, request: pb.ListSilencesRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListSilencesResponse:
        """List silences by name."""
        found, token = await self._silences.list(request)
        return pb.ListSilencesResponse(silences=found, next_page_token=token)

    async def UpdateSilence(
        self, request: pb.UpdateSilenceRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.Silence:
        """Change a silence."""
        return await self._silences.update(request)

    async def DeleteSilence(
        self, request: pb.DeleteSilenceRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> Empty:
        """Delete a silence."""
        await self._silences.delete(request)
        return Empty()

    async def PreviewSilence(
        self, request: pb.PreviewSilenceRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.PreviewSilenceResponse:
        """Return the alerts that fire and match."""
        matchers = read_matchers(request.matchers)
        check_matchers("matchers", matchers)
        async with self._parts.database.reading() as connection:
            found = await self._parts.alerts.find(
                connection,
                readable_organization(),
                states=_FIRES,
                rule_id="",
                before="",
                limit=_MOST_LOOKED_AT,
            )
        now = self._parts.clock.now()
        meant = [alert for alert in found if match_all(matchers, alert.labels)]
        return pb.PreviewSilenceResponse(
            alerts=[alert_message(alert, now) for alert in meant[:_MOST_SHOWN]]
        )

    @property
    def _silences(self) -> Keeper[Silence, pb.Silence]:
        return Keeper(_SILENCE, self._parts.database, self._parts.clock)


class MaintenanceMethods(Methods):
    """Keeps maintenance windows."""

    async def CreateMaintenanceWindow(
        self,
        request: pb.CreateMaintenanceWindowRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> pb.MaintenanceWindow:
        """Create a maintenance window."""
        return await self._windows.create(request)

    async def GetMaintenanceWindow(
        self, request: pb.GetMaintenanceWindowRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.MaintenanceWindow:
        """Return a maintenance window."""
        return await self._windows.get(request)

    async def ListMaintenanceWindows(
        self,
        request: pb.ListMaintenanceWindowsRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> pb.ListMaintenanceWindowsResponse:
        """List maintenance windows by name."""
        found, token = await self._windows.list(request)
        return pb.ListMaintenanceWindowsResponse(maintenance_windows=found, next_page_token=token)

    async def UpdateMaintenanceWindow(
        self,
        request: pb.UpdateMaintenanceWindowRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> pb.MaintenanceWindow:
        """Change a maintenance window."""
        return await self._windows.update(request)

    async def DeleteMaintenanceWindow(
        self,
        request: pb.DeleteMaintenanceWindowRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> Empty:
        """Delete a maintenance window."""
        await self._windows.delete(request)
        return Empty()

    @property
    def _windows(self) -> Keeper[MaintenanceWindow, pb.MaintenanceWindow]:
        return Keeper(_WINDOW, self._parts.database, self._parts.clock)

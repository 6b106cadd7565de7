"""Asks agents whether they are there, by the health protocol that every gRPC server may speak.

https://github.com/grpc/grpc/blob/master/doc/health-checking.md
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from brikk_shared.egress import Egress
from brikk_shared.errors import BrikkError

_OPTIONS: Final = (
    # A connection of its own: one that stands already may be half open, and proves nothing.
    ("grpc.use_local_subchannel_pool", 1),
    # A failed probe is data.
    ("grpc.enable_retries", 0),
)
# Whoever answers so is there: it does not speak the protocol, does not know us, or is busy.
_THERE: Final = frozenset(
    {
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
    }
)


class HealthClient:
    """Probes endpoints, each through a connection that is made for it and closed after it.

    Args:
        timeout: how long an answer may take, the connection included.
    """

    def __init__(self, egress: Egress, timeout: timedelta) -> None:
        self._egress = egress
        self._timeout = timeout
        # What neither connects nor refuses is tried no longer: gRPC would keep on for 20 s.
        patience = ("grpc.min_reconnect_backoff_ms", timeout // timedelta(milliseconds=1))
        self._options = (*_OPTIONS, patience)

    async def answers(self, endpoint: str) -> bool:
        """Whether somebody serves at `host:port`."""
        try:
            channel = await self._egress.channel(endpoint, self._options)
        except BrikkError:
            return False
        async with channel:
            try:
                answer = await health_pb2_grpc.HealthStub(channel).Check(
                    health_pb2.HealthCheckRequest(), timeout=self._timeout.total_seconds()
                )
            except grpc.aio.AioRpcError as error:
                return error.code() in _THERE
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

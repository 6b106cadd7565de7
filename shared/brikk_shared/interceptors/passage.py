"""One call on its way through the parts: admitted, then ended well or badly."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import cast

import grpc
from google.protobuf.message import Message

from brikk_shared.audit import AuditEntry
from brikk_shared.call import Call, enter_call
from brikk_shared.identity import Identity, TokenVerifier
from brikk_shared.ids import new_id
from brikk_shared.interceptors.audit import AuditTrail
from brikk_shared.interceptors.context import Context
from brikk_shared.interceptors.errors import abort, as_error
from brikk_shared.interceptors.identity import authorize, identify
from brikk_shared.interceptors.limits import Limits
from brikk_shared.interceptors.logs import log_failure, log_success
from brikk_shared.interceptors.method import Method
from brikk_shared.interceptors.metrics import MethodMetrics
from brikk_shared.interceptors.streams import Streams
from brikk_shared.interceptors.undecodable import Undecodable, refuse
from brikk_shared.metadata import (
    REQUEST_ID_KEY,
    TRACEPARENT_KEY,
    is_request_id,
    is_traceparent,
)
from brikk_shared.validator import validate


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """What the calls of a server share."""

    verifier: TokenVerifier
    limits: Limits
    streams: Streams
    audit: AuditTrail


class Passage:
    """One call of one method."""

    __slots__ = (
        "_began",
        "_context",
        "_counted",
        "_entry",
        "_identity",
        "_metadata",
        "_method",
        "_metrics",
        "_parts",
        "_request_id",
    )

    def __init__(
        self, parts: Parts, method: Method, metrics: MethodMetrics, context: Context
    ) -> None:
        self._parts = parts
        self._method = method
        self._metrics = metrics
        self._context = context
        self._began = time.perf_counter()
        self._metadata = dict(context.invocation_metadata() or ())
        request_id = str(self._metadata.get(REQUEST_ID_KEY, ""))
        self._request_id = request_id if is_request_id(request_id) else new_id()
        self._identity: Identity | None = None
        self._entry: AuditEntry | None = None
        self._counted = False
        metrics.begin()

    async def admit(self, request: Message | Undecodable) -> Message:
        """Let the call in with a request that keeps its contract, or raise why not."""
        self._metrics.received()
        await self._enter(None if isinstance(request, Undecodable) else request)
        return _checked(request)

    async def admit_each(self, _requests: object) -> Requests:
        """Let a call in that streams requests, or raise why not. Each of them is then judged.

        It is a call under way no longer: while it says nothing it holds up nobody. Its servicer
        bounds how many of them there may be.
        """
        identity = await self._enter(None)
        self._uncount()
        return Requests(self._context, self._metrics, self._parts.limits, identity)

    async def _enter(self, request: Message | None) -> Identity:
        parts, method, context = self._parts, self._method, self._context
        context.set_trailing_metadata(((REQUEST_ID_KEY, self._request_id),))
        parts.limits.enter()
        self._counted = True
        identity = self._identity = await identify(parts.verifier, self._metadata)
        # Before the audit, which would otherwise write a row for each call of a flood.
        parts.limits.spend(identity)
        entry = self._entry = parts.audit.open(method, identity, request, self._request_id, context)
        traceparent = str(self._metadata.get(TRACEPARENT_KEY, ""))
        call = Call(
            method=method.path,
            identity=identity,
            request_id=self._request_id,
            traceparent=traceparent if is_traceparent(traceparent) else "",
            audit=entry,
        )
        enter_call(call)
        authorize(method, identity)
        if method.kind != "unary" and identity.expire_time is not None:
            parts.streams.expire(identity.expire_time)
        return identity

    def sent(self) -> None:
        """Count a message of the answer."""
        self._metrics.sent()

    async def succeed(self) -> None:
        """End the call well, once its audit entry is written."""
        await self._parts.audit.close(self._entry)
        seconds = self._leave("OK")
        if self._identity is not None:
            log_success(self._method, self._identity, self._request_id, seconds)

    async def fail(self, cause: Exception | asyncio.CancelledError) -> None:
        """End the call with the status of its error.

        Raises what tells gRPC so, unless it knows: of a cancellation, of an abort by a servicer.
        """
        error = as_error(cause, self._context, self._request_id)
        seconds = self._leave(error.code)
        log_failure(self._method, self._identity, self._request_id, seconds, error, cause)
        await self._parts.audit.close_failed(self._entry, error.code)
        if not isinstance(cause, (asyncio.CancelledError, grpc.aio.AbortError)):
            await abort(self._context, error, self._request_id)

    def _leave(self, code: str) -> float:
        self._uncount()
        seconds = time.perf_counter() - self._began
        self._metrics.end(code, seconds)
        return seconds

    def _uncount(self) -> None:
        if self._counted:
            self._parts.limits.leave()
            self._counted = False


class Requests:
    """The requests of a stream, one after the other, as they come.

    The next is read when it is asked for: who sends faster than it is answered waits. One that the
    rate does not allow or that breaks its contract is raised, and ends the call. One that equals
    the one before is that one: what was found out about it need not be found out again.
    """

    __slots__ = ("_before", "_context", "_identity", "_limits", "_metrics")

    def __init__(
        self, context: Context, metrics: MethodMetrics, limits: Limits, identity: Identity
    ) -> None:
        self._context = context
        self._metrics = metrics
        self._limits = limits
        self._identity = identity
        self._before: Message | None = None

    def __aiter__(self) -> Requests:
        return self

    async def __anext__(self) -> Message:
        # Not from gRPC's iterator: a call that fails would leave it to the garbage collector.
        request: object = await self._context.read()
        if request is grpc.aio.EOF:
            raise StopAsyncIteration
        self._metrics.received()
        self._limits.spend(self._identity)
        if self._before is None or request != self._before:
            self._before = _checked(cast("Message | Undecodable", request))
        return self._before


def _checked(request: Message | Undecodable) -> Message:
    if isinstance(request, Undecodable):
        raise refuse()
    validate(request)
    return request

"""The one interceptor of a server, through which every call passes.

It is one, and its wrapped handlers are cached, because each interceptor that stands by itself costs
a call 15 to 20 microseconds; its parts are the other files here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any, TypeAlias, TypeVar, cast

import grpc
from google.protobuf.message import Message

from brikk_shared.interceptors.context import Context
from brikk_shared.interceptors.method import Method
from brikk_shared.interceptors.metrics import CallMetrics
from brikk_shared.interceptors.passage import Parts, Passage, Requests
from brikk_shared.interceptors.undecodable import Undecodable, decoder

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")
_Sent = TypeVar("_Sent")
_Given = TypeVar("_Given")
_Handler: TypeAlias = "grpc.RpcMethodHandler[_Request, _Response]"
_Decode = Callable[[bytes], Message]
_Unary = Callable[[Message, Context], Awaitable[Message]]
_Stream = Callable[[_Given, Context], AsyncGenerator[Message, None]]
_Admit = Callable[[Passage, _Sent], Awaitable[_Given]]


class Pipeline(grpc.aio.ServerInterceptor):
    """Admits calls, runs them, and sees to how they end.

    Methods that are not in `methods` pass untouched: health and reflection, which anybody may ask.
    """

    def __init__(self, methods: Mapping[str, Method], parts: Parts, metrics: CallMetrics) -> None:
        self._methods = methods
        self._parts = parts
        self._metrics = {path: metrics.of(each) for path, each in methods.items()}
        self._wrapped: dict[str, _Handler[Any, Any]] = {}

    async def intercept_service(
        self,
        continuation: Callable[
            [grpc.HandlerCallDetails], Awaitable[_Handler[_Request, _Response] | None]
        ],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> _Handler[_Request, _Response] | None:
        """The handler of a call: wrapped on the first call of its method."""
        path = handler_call_details.method
        if (wrapped := self._wrapped.get(path)) is not None:
            return wrapped
        handler = await continuation(handler_call_details)
        method = self._methods.get(path)
        if handler is None or method is None:
            return handler
        wrapped = self._wrapped[path] = self._wrap(handler, method)
        return wrapped

    def _wrap(self, handler: _Handler[Any, Any], method: Method) -> _Handler[Any, Any]:
        if handler.request_streaming and not handler.response_streaming:
            raise ValueError(f"{method.path} streams only requests, which no part here expects")
        # gRPC's types describe the handlers of synchronous servers.
        decode: Any = decoder(cast(_Decode, handler.request_deserializer))
        if handler.request_streaming:
            both: Any = self._stream(
                method, cast(_Stream[Requests], handler.stream_stream), Passage.admit_each
            )
            return grpc.stream_stream_rpc_method_handler(both, decode, handler.response_serializer)
        if handler.response_streaming:
            stream: Any = self._stream(
                method, cast(_Stream[Message], handler.unary_stream), Passage.admit
            )
            return grpc.unary_stream_rpc_method_handler(stream, decode, handler.response_serializer)
        unary: Any = self._unary(method, cast(_Unary, handler.unary_unary))
        return grpc.unary_unary_rpc_method_handler(unary, decode, handler.response_serializer)

    def _unary(
        self, method: Method, handle: _Unary
    ) -> Callable[[Message | Undecodable, Context], Awaitable[Message]]:
        parts, metrics = self._parts, self._metrics[method.path]

        async def call(request: Message | Undecodable, context: Context) -> Message:
            passage = Passage(parts, method, metrics, context)
            try:
                response = await handle(await passage.admit(request), context)
                await passage.succeed()
            except (Exception, asyncio.CancelledError) as error:
                await passage.fail(error)
                raise
            passage.sent()
            return response

        return call

    def _stream(
        self, method: Method, handle: _Stream[_Given], admit: _Admit[_Sent, _Given]
    ) -> Callable[[_Sent, Context], Awaitable[None]]:
        parts, metrics = self._parts, self._metrics[method.path]

        # It writes instead of yielding: a cancellation then arrives here while a message is sent,
        # too, and not in gRPC, which would leave a generator to the garbage collector.
        async def call(sent: _Sent, context: Context) -> None:
            passage = Passage(parts, method, metrics, context)
            try:
                with parts.streams.under_way() as stream:
                    answers = handle(await admit(passage, sent), context)
                    async with aclosing(answers):
                        async for answer in answers:
                            stream.sending()
                            await context.write(answer)
                            passage.sent()
                            stream.sent()
                await passage.succeed()
            except (Exception, asyncio.CancelledError) as error:
                await passage.fail(error)
                raise

        return call

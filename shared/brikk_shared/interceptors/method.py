"""What the contract says of a method, read from its descriptor once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

from brikk.options.v1 import options_pb2

_KINDS = {
    (False, False): "unary",
    (False, True): "server_stream",
    (True, False): "client_stream",
    (True, True): "bidi_stream",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Method:
    """A method that a server offers."""

    path: str
    """As gRPC names it, for instance `/brikk.webhooks.v1.WebhookService/GetWebhook`."""
    service: str
    name: str
    kind: str
    """`unary`, `server_stream`, `client_stream` or `bidi_stream`, as metrics label it."""
    scope: str
    """What the caller's token must carry."""
    mutates: bool
    audited: bool


def methods_of(service: ServiceDescriptor) -> Mapping[str, Method]:
    """The methods of a service by path. ValueError when its contract declares no scope."""
    methods = (_read(service, each) for each in service.methods)
    return {method.path: method for method in methods}


def _read(service: ServiceDescriptor, descriptor: MethodDescriptor) -> Method:
    options = descriptor.GetOptions()
    scope = options.Extensions[options_pb2.required_scope]
    if not scope:
        raise ValueError(f"{descriptor.full_name} declares no required_scope")
    mutates = options.idempotency_level != descriptor_pb2.MethodOptions.NO_SIDE_EFFECTS
    return Method(
        path=f"/{service.full_name}/{descriptor.name}",
        service=service.full_name,
        name=descriptor.name,
        kind=_KINDS[descriptor.client_streaming, descriptor.server_streaming],
        scope=scope,
        mutates=mutates,
        audited=mutates and options.Extensions[options_pb2.audit] != options_pb2.AUDIT_NONE,
    )

"""Requests whose bytes are not the declared message: they answer like any other bad request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from google.protobuf.message import DecodeError, Message

from brikk_shared.errors import InvalidArgument, Reason


@dataclass(frozen=True, slots=True)
class Undecodable:
    """Stands for a request that could not be decoded. Left to itself, gRPC would answer UNKNOWN."""


def decoder(
    deserialize: Callable[[bytes], Message],
) -> Callable[[bytes], Message | Undecodable]:
    """A deserializer that does not fail."""

    def decode(content: bytes) -> Message | Undecodable:
        try:
            return deserialize(content)
        except DecodeError:
            return Undecodable()

    return decode


def refuse() -> InvalidArgument:
    """What such a request answers."""
    return InvalidArgument(
        Reason.UNDECODABLE_REQUEST, "the request's bytes are not the declared message"
    )

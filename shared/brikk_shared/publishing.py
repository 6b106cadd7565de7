"""Makes requests to publish of events as they lie in the outbox: serialised, and never parsed."""

from __future__ import annotations

from collections.abc import Iterable

from brikk.event.v1.event_service_pb2 import PublishRequest

# https://protobuf.dev/programming-guides/encoding/: a field's number and wire type, in a byte each.
_ITEMS = b"\x22"  # PublishRequest.items, of a length
_POSITION = b"\x08"  # PublishItem.position, a number
_EVENT = b"\x12"  # PublishItem.event, of a length


def serialized_request(request: PublishRequest, events: Iterable[tuple[int, bytes]]) -> bytes:
    """Serialise a request with items added to it: positions with serialised events."""
    parts = [request.SerializeToString()]
    for position, event in events:
        head = b"".join((_POSITION, _number(position), _EVENT, _number(len(event))))
        parts += (_ITEMS, _number(len(head) + len(event)), head, event)
    return b"".join(parts)


def _number(value: int) -> bytes:
    """Serialise a number that is not negative: seven bits a byte, the lowest first."""
    if value < 0x80:
        return bytes((value,))
    if value < 0x4000:
        return bytes((value & 0x7F | 0x80, value >> 7))
    digits = bytearray()
    while value >= 0x80:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    digits.append(value)
    return bytes(digits)

"""Updates: what a request changes of a message, and whether it knew what it changes."""

from __future__ import annotations

from collections.abc import Iterable, Set
from typing import TypeVar

from google.protobuf.message import Message

from brikk_shared.errors import Aborted, Reason, invalid_field

M = TypeVar("M", bound=Message)


def check_etag(name: str, *, given: str, current: str) -> None:
    """Make sure that an update was made of what there is.

    Raises:
        Aborted: another change came first.
    """
    if given and given != current:
        raise Aborted(
            Reason.ETAG_MISMATCH,
            f"{name} is at etag {current}: read it again",
            metadata={"resource": name, "etag": current},
        )


def merge(current: M, given: M, mask: Iterable[str], *, fixed: Set[str]) -> M:
    """Return a message with the fields that a mask names taken from another, or those set there.

    Of a oneof, one takes the place of any other.

    Args:
        current: is used up.
        fixed: fields that nobody may change.

    Raises:
        InvalidArgument: the mask names something that cannot be changed.
    """
    fields = current.DESCRIPTOR.fields_by_name
    writable = set(fields) - fixed
    paths = set(mask) or {field.name for field, _ in given.ListFields()} & writable
    unknown = sorted(paths - writable)
    if unknown:
        raise invalid_field("update_mask", f"names {unknown[0]}, which cannot be changed")
    for oneof in current.DESCRIPTOR.oneofs:
        alternatives = {field.name for field in oneof.fields}
        if paths & alternatives:
            paths |= alternatives
    part = type(given)()
    part.CopyFrom(given)
    for name in fields:
        replaced = current if name in paths else part
        replaced.ClearField(name)
    current.MergeFrom(part)
    return current

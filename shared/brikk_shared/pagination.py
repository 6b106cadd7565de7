"""Pages of a list: how many, from where, and the token that leads to the next."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar, cast

from google.protobuf.message import Message

from brikk_shared.errors import FieldViolation, InvalidArgument, Reason, invalid_field

_Item = TypeVar("_Item")

_DIGEST_BYTES = 12


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """What part of a list is asked for."""

    size: int
    cursor: str
    """Where the page before ended, as given to `next_token`; empty for the first page. Callers can
    forge it: treat it like any other field of theirs."""


class _PagedRequest(Protocol):
    page_size: int
    page_token: str


def page_of(request: Message, *, default: int = 50, cap: int = 500) -> Page:
    """The page that a List request asks for: `default` items when it does not say, at most `cap`.

    InvalidArgument with INVALID_PAGE_TOKEN when the token is of another method or other fields.
    """
    paged = cast(_PagedRequest, request)
    if paged.page_size < 0:
        raise invalid_field("page_size", "must not be negative")
    cursor = _cursor_of(request, paged.page_token) if paged.page_token else ""
    return Page(size=min(paged.page_size or default, cap), cursor=cursor)


def cut(
    request: Message, page: Page, found: Sequence[_Item], cursor_of: Callable[[_Item], str]
) -> tuple[Sequence[_Item], str]:
    """The items of a page and the token of the page after, which is empty when they are the last.

    `found` has one item more than the page when there are more; `cursor_of` gives an item's key.
    """
    shown = found[: page.size]
    more = len(found) > len(shown)
    return shown, next_token(request, cursor_of(shown[-1])) if more else ""


def next_token(request: Message, cursor: str) -> str:
    """The token of the page after `cursor`, the key of the last item returned.

    It holds for the same request only, page_size aside.
    """
    return base64.urlsafe_b64encode(_digest(request) + cursor.encode()).rstrip(b"=").decode("ascii")


def _cursor_of(request: Message, token: str) -> str:
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        cursor = raw[_DIGEST_BYTES:].decode()
    except (binascii.Error, ValueError):
        raise _refused() from None
    if raw[:_DIGEST_BYTES] != _digest(request) or not cursor or "\0" in cursor:
        raise _refused()
    return cursor


def _digest(request: Message) -> bytes:
    """What binds a token to its method and to the fields that choose the list."""
    bound = type(request)()
    bound.CopyFrom(request)
    bound.ClearField("page_size")
    bound.ClearField("page_token")
    name = request.DESCRIPTOR.full_name.encode()
    content = bound.SerializeToString(deterministic=True)
    return hashlib.blake2b(name + b"\0" + content, digest_size=_DIGEST_BYTES).digest()


def _refused() -> InvalidArgument:
    description = "was not made by this method for these fields"
    return InvalidArgument(
        Reason.INVALID_PAGE_TOKEN,
        f"page_token {description}",
        metadata={"field": "page_token"},
        violations=[FieldViolation("page_token", description)],
    )

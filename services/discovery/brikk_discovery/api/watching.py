"""How callers are kept informed of who offers what."""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import aclosing
from typing import Final

from brikk.discovery.v1 import discovery_service_pb2 as pb
from brikk_discovery.api.candidates import Messages, Offered, contracts_of
from brikk_discovery.api.parts import Context, Methods
from brikk_discovery.runtime.news import (
    Bookmark,
    Changes,
    News,
    Observations,
    Resume,
    Resync,
    Snapshot,
)
from brikk_discovery.runtime.topics import Watched
from brikk_shared.call import organization
from brikk_shared.errors import FieldViolation, InvalidArgument, Reason

# What a resume token begins with: a digest, and a revision. The epoch and the process follow.
_HEAD: Final = struct.Struct("!12sQ")
# What contracts may take in a message, which must stay below what gRPC's clients take: 4 MiB.
_CONTRACT_BYTES: Final = 1 << 20


class WatchMethods(Methods):
    """Watches of the registry."""

    async def WatchCapabilities(
        self, request: pb.WatchCapabilitiesRequest, context: Context
    ) -> AsyncGenerator[pb.WatchCapabilitiesResponse, None]:
        """Stream who offers some capabilities: a snapshot or what was missed, then each change."""
        watched = Watched.of(organization(), request.capabilities)
        resume = _resume_of(watched, request.resume_token) if request.resume_token else None
        async with aclosing(self._parts.watchers.follow(watched, resume)) as told:
            async for messages in told:
                for message in messages:
                    yield message


def watch_messages(watched: Watched, news: News[Offered], known: Resume | None) -> Messages:
    """Write the messages for watchers; with what they then know, they can be gone on from."""
    message = _message(watched, news, known)
    match news:
        case Snapshot():
            return (*_contracts(news.candidates), message)
        case Changes():
            return (*_contracts(news.upserted), message)
        case _:
            return (message,)


def _contracts(candidates: Iterable[Offered]) -> Iterator[pb.WatchCapabilitiesResponse]:
    message, size = pb.WatchCapabilitiesResponse(), 0
    for contract in contracts_of(candidates):
        if size + contract.ByteSize() > _CONTRACT_BYTES:
            yield message
            message, size = pb.WatchCapabilitiesResponse(), 0
        message.contracts.contracts.append(contract)
        size += contract.ByteSize()
    if size:
        yield message


def _message(
    watched: Watched, news: News[Offered], known: Resume | None
) -> pb.WatchCapabilitiesResponse:
    message = pb.WatchCapabilitiesResponse()
    if known is not None:
        message.revision, message.resume_token = known.revision, _token_of(watched, known)
    match news:
        case Snapshot():
            message.snapshot.candidates.extend(each.candidate for each in news.candidates)
            message.snapshot.complete = news.complete
            _leave_out_ranks(message.snapshot.candidates)
        case Changes():
            message.changes.upserted.extend(each.candidate for each in news.upserted)
            _leave_out_ranks(message.changes.upserted)
            message.changes.removed.extend(
                pb.CandidateKey(agent=change.key.name, capability=change.capability)
                for change in news.removed
            )
        case Bookmark():
            message.bookmark.SetInParent()
        case Resync():
            message.resync.reason = news.cause.words
        case Observations():
            message.observations.observations.extend(
                each.candidate.observation for each in news.candidates
            )
    return message


def _leave_out_ranks(candidates: Iterable[pb.Candidate]) -> None:
    # Where one stands among the others changes all the time, and nobody is told.
    for candidate in candidates:
        candidate.ClearField("rank_reason")


def _token_of(watched: Watched, resume: Resume) -> str:
    names = f"{resume.epoch} {resume.process}"
    raw = _HEAD.pack(_digest(watched, resume), resume.revision) + names.encode()
    return base64.urlsafe_b64encode(raw).decode("ascii")


def _resume_of(watched: Watched, token: str) -> Resume:
    """Read a token.

    Raises:
        InvalidArgument: INVALID_PAGE_TOKEN, it was not made for this organisation and these
            capabilities. To fall back to a snapshot would hide the caller's mistake for ever.
    """
    try:
        raw = base64.b64decode(token, altchars=b"-_", validate=True)
        digest, revision = _HEAD.unpack_from(raw)
        epoch, process = raw[_HEAD.size :].decode().split(" ")
        resume = Resume(epoch=epoch, revision=revision, process=process)
    except (binascii.Error, ValueError, struct.error):
        raise _refused() from None
    if digest != _digest(watched, resume):
        raise _refused()
    return resume


def _digest(watched: Watched, resume: Resume) -> bytes:
    """What binds a token to whoever watches what. It keeps nobody from forging: that gains nothing,
    for what is told is what the caller may watch anyway.
    """
    told = [resume.epoch, str(resume.revision), resume.process]
    bound = "\0".join([*told, watched.organization, *watched.capabilities])
    return hashlib.blake2b(bound.encode(), digest_size=12).digest()


def _refused() -> InvalidArgument:
    description = "was not made for these capabilities"
    return InvalidArgument(
        Reason.INVALID_PAGE_TOKEN,
        f"resume_token {description}",
        metadata={"field": "resume_token"},
        violations=[FieldViolation("resume_token", description)],
    )

"""How far agents have come with their attempts, by their own word."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from brikk_workflow.domain.payload import scrub

MAX_MESSAGE = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class AttemptProgress:
    """What an agent last told of an attempt.

    `fraction` is the share that is done, 0 to 1. The message is scrubbed and cut, whoever wrote it.
    """

    fraction: float
    message: str
    time: datetime

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", scrub(self.message[:MAX_MESSAGE])[:MAX_MESSAGE])

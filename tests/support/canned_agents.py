"""Agents whose answers follow from what they are asked alone, whoever asks and however often."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from zlib import crc32

from brikk_workflow.domain.payload import Json

GOOD, WRONG, BUSY_ONCE, BUSY_TWICE, MOODY = (
    "t.good",
    "t.wrong",
    "t.busy_once",
    "t.busy_twice",
    "t.moody",
)
CAPABILITIES = (GOOD, WRONG, BUSY_ONCE, BUSY_TWICE, MOODY)


class Refusal(NamedTuple):
    """What an agent fails with: a gRPC code."""

    code: str

    @property
    def retryable(self) -> bool:
        """Whether another attempt may help."""
        return self.code == "ABORTED"


def answer(capability: str, given: Mapping[str, Json], attempt: int) -> dict[str, Json] | Refusal:
    """Return what an agent answers at an attempt, from 1."""
    number = crc32(json.dumps(_plain(given), sort_keys=True).encode())
    if capability == WRONG or (capability == MOODY and number % 3 == 0):
        return Refusal("INVALID_ARGUMENT")
    busy = {BUSY_ONCE: 1, BUSY_TWICE: 2, MOODY: number % 3 - 1}.get(capability, 0)
    if attempt <= busy:
        return Refusal("ABORTED")
    return {"n": float(number % 7), "list": [float(each) for each in range(number % 3)]}


def _plain(value: Json) -> Json:
    """Return a value with all its numbers written alike."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item) for item in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value

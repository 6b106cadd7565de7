"""What a payload may hold, so that no value poisons a batch, a store or an agent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

Json: TypeAlias = "None | bool | int | float | str | Sequence[Json] | Mapping[str, Json]"


def check(value: Json) -> None:
    """Refuse."""
    raise NotImplementedError

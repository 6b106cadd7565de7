"""What becomes of a step that is no call, as the room of its kind tells; None: it goes on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from brikk_workflow.domain.failure import Failure
from brikk_workflow.domain.payload import Json


@dataclass(frozen=True, slots=True)
class Done:
    """It has succeeded with this output."""

    output: Json = None


@dataclass(frozen=True, slots=True)
class Failed:
    """It has failed."""

    failure: Failure


Outcome: TypeAlias = Done | Failed | None

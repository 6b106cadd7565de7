"""What the registry remembers of an agent's id beyond its registrations."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from brikk_discovery.domain.agent import Order

# More processes that all were superseded and yet live are not to be expected.
_SUPERSEDED: Final = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Memory:
    """Held while there is something to remember, and for a month after the agent left."""

    order: Order | None = None
    superseded: tuple[str, ...] = ()
    """Incarnations that a newer one replaced while they lived, the latest last: they stay out."""
    penalty: float = 0.0
    """For coming and going, as it was at `penalty_time`; it decays."""
    penalty_time: datetime | None = None

    @property
    def empty(self) -> bool:
        """Whether there is nothing worth keeping."""
        return self == NOTHING

    def superseding(self, incarnation: str) -> Memory:
        """Remember one more incarnation that was replaced, and the latest few only."""
        return replace(self, superseded=(*self.superseded, incarnation)[-_SUPERSEDED:])


NOTHING: Final = Memory()

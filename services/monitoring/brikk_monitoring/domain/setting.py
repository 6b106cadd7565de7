"""What people keep of who is told: a silence, a maintenance window, a policy, the routes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting(Generic[T]):
    """What people say, and may change, under a name."""

    organization: str
    id: str
    content: T
    revision: int = 0
    create_time: datetime
    update_time: datetime

    @property
    def etag(self) -> str:
        """Changes with the content."""
        return f"r{self.revision}"

    def updated(self, content: T, now: datetime) -> Setting[T]:
        """Return it as it is with another content."""
        if content == self.content:
            return self
        return replace(self, content=content, revision=self.revision + 1, update_time=now)

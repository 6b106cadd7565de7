"""Expressions of the workflow language."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from brikk_workflow.domain.payload import Json


@dataclass(frozen=True, kw_only=True, slots=True)
class Scope:
    """What expressions may read."""

    input: Mapping[str, Json]
    steps: Mapping[str, Json]
    execution: Mapping[str, Json]


class Expression:
    """A compiled expression."""

    def evaluate(self, scope: Scope) -> Json:
        """Return the value."""
        raise NotImplementedError


def compile_expression(text: str) -> Expression:
    """Compile."""
    raise NotImplementedError

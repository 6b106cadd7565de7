"""JSON Schema."""

from __future__ import annotations

from collections.abc import Mapping

from brikk_workflow.domain.payload import Json


class Schema:
    """A compiled schema."""


def compile_schema(schema: Mapping[str, Json]) -> Schema:
    """Compile."""
    raise NotImplementedError

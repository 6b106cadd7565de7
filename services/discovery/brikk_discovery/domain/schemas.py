"""Whether the schemas of capabilities are such as callers accept."""

from __future__ import annotations

import json
from functools import lru_cache

from brikk_shared.json_schema import SchemaInvalid, compile_schema
from brikk_shared.path import Path


@lru_cache(maxsize=1000)
def schema_problems(text: str) -> tuple[tuple[Path, str], ...]:
    """Find what is wrong with a schema, with the place in it.

    Replicas of an agent, and those who come back, have the same: each is checked once.
    """
    try:
        compile_schema(json.loads(text))
    except SchemaInvalid as invalid:
        return tuple(invalid.problems)
    return ()

"""The surroundings that most tests of the workflow service have in common."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.workflows import World


@pytest.fixture
async def world(tmp_path: Path, database_url: str) -> AsyncIterator[World]:
    """What a workflow service stands among, on each store."""
    async with World(tmp_path, database_url).open() as world:
        yield world

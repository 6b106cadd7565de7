"""Services of many domains, and what people ask for in their own words: who should be found?"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from brikk_discovery.domain.agent import Capability, Definition, Service

_FILE = Path(__file__).with_suffix(".json")


@cache
def _entries() -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = json.loads(_FILE.read_text())
    return entries


def definitions() -> Iterator[tuple[str, Definition]]:
    """Each service as an agent of its own, by agent id."""
    for entry in _entries():
        service = Service(
            service_id=entry["service_id"],
            description=entry["description"],
            capabilities=tuple(
                Capability(
                    name=item["capability"],
                    description=item["description"],
                    tags=tuple(item["tags"]),
                    examples=tuple(item["examples"]),
                )
                for item in entry["capabilities"]
            ),
        )
        yield (
            service.service_id,
            Definition(
                display_name=entry["agent"],
                endpoint="127.0.0.1:9000",
                labels={},
                services=(service,),
            ),
        )


def questions() -> Sequence[tuple[str, str]]:
    """What people ask, with the id of the service that answers it."""
    return [(query, entry["service_id"]) for entry in _entries() for query in entry["queries"]]

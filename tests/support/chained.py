"""Histories in the form of an export, made without a service."""

from __future__ import annotations

import json
from typing import Any

from brikk_shared.chain import link, root

Line = dict[str, Any]


def history(execution: str = "b1", entries: int = 5, unchained: int = 0) -> list[Line]:
    """Returns the lines of an execution; the first entries may be older than the chain."""
    lines: list[Line] = []
    head = root("acme", execution)
    for sequence in range(1, entries + 1):
        kind, attributes = f"step.é{sequence}", json.dumps({"n": sequence, "text": "a\nb"})
        if sequence > unchained:
            head = link(head, "acme", execution, sequence, kind, "a/1/b", sequence, attributes)
        lines.append(
            {
                "kind": "entry",
                "sequence": sequence,
                "type": kind,
                "step": "a/1/b",
                "time": sequence,
                "attributes": attributes,
                "hash": head.hex() if sequence > unchained else "",
            }
        )
    header = {
        "kind": "execution",
        "organization": "acme",
        "execution": execution,
        "sequence": entries,
        "hash": head.hex(),
    }
    return [header, {"kind": "input", "value": {}}, *lines]


def written(lines: list[Line]) -> str:
    """Returns the text of a file."""
    return "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines)

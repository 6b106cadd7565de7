"""Where a value stands inside another."""

from __future__ import annotations

from typing import TypeAlias

Path: TypeAlias = tuple[str | int, ...]


def written(path: Path) -> str:
    """Return a path as people write it: `steps[2].call.input.text`."""
    return "".join(
        f"[{part}]" if isinstance(part, int) else f".{part}" if index else part
        for index, part in enumerate(path)
    )

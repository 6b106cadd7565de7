"""Pictures of workflows in the language of Mermaid, which many editors and pages show."""

from __future__ import annotations

import re
from collections.abc import Iterator

from brikk_workflow.domain.colours import COLOURS
from brikk_workflow.domain.picture import Arrow, Box

# Everything else could end a label or begin markup; `_` and `-` cannot.
_UNSAFE = re.compile(r"[^\w .,:/()=\-]", re.ASCII)


def to_mermaid(picture: Box) -> str:
    """Return the text of a flowchart."""
    lines = ["flowchart TD", *_inside(picture, "    ")]
    statuses = {box.status for box in _all(picture)}
    for status, colour in COLOURS.items():
        if status in statuses:
            keys = ",".join(_id(box.key) for box in _all(picture) if box.status == status)
            lines += [
                f"    classDef {status} fill:{colour},color:#000",
                f"    class {keys} {status}",
            ]
    return "\n".join(lines) + "\n"


def _inside(box: Box, margin: str) -> Iterator[str]:
    for each in box.inside:
        if each.inside:
            yield f'{margin}subgraph {_id(each.key)}["{_label(each)}"]'
            yield f"{margin}    direction TB"
            yield from _inside(each, f"{margin}    ")
            yield f"{margin}end"
        else:
            yield f'{margin}{_id(each.key)}["{_label(each)}"]'
    yield from (f"{margin}{_arrow(arrow)}" for arrow in box.arrows)


def _arrow(arrow: Arrow) -> str:
    return f"{_id(arrow.start)} {'-.->' if arrow.catch else '-->'} {_id(arrow.end)}"


def _id(key: str) -> str:
    return "step_" + key.replace(".", "-")  # so that it is no word of Mermaid, such as `end`


def _label(box: Box) -> str:
    return "<br/>".join(_UNSAFE.sub(lambda found: f"#{ord(found[0])};", line) for line in box.lines)


def _all(box: Box) -> Iterator[Box]:
    for each in box.inside:
        yield each
        yield from _all(each)

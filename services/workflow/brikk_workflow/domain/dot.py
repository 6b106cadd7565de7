"""Pictures of workflows in the DOT language of Graphviz."""

from __future__ import annotations

from collections.abc import Iterator

from brikk_workflow.domain.colours import COLOURS
from brikk_workflow.domain.picture import Arrow, Box
from brikk_workflow.domain.state import StepStatus

_STYLES = (
    "    compound=true",
    '    graph [fontname="sans-serif", fontsize=11]',
    '    node [shape=box, style="rounded,filled", fillcolor=white, fontname="sans-serif",'
    " fontsize=11]",
)


def to_dot(picture: Box) -> str:
    """Return the text of a directed graph."""
    lines = [f"digraph {_quoted(picture.lines[0])} {{", *_STYLES, *_inside(picture, "    "), "}"]
    return "\n".join(lines) + "\n"


def _inside(box: Box, margin: str) -> Iterator[str]:
    around = {each.key for each in box.inside if each.inside}
    for each in box.inside:
        if each.inside:
            yield f"{margin}subgraph {_quoted(_cluster(each.key))} {{"
            yield f"{margin}    label={_label(each)}"
            if each.status:
                yield f'{margin}    bgcolor="{COLOURS[StepStatus(each.status)]}"'
            # Arrows lead to steps only: this one stands for the whole, whose edge they end at.
            yield f"{margin}    {_quoted(each.key)} [shape=point, style=invis]"
            yield from _inside(each, f"{margin}    ")
            yield f"{margin}}}"
        else:
            colour = f', fillcolor="{COLOURS[StepStatus(each.status)]}"' if each.status else ""
            yield f"{margin}{_quoted(each.key)} [label={_label(each)}{colour}]"
    for arrow in box.arrows:
        yield f"{margin}{_arrow(arrow, around)}"


def _arrow(arrow: Arrow, around: set[str]) -> str:
    options = []
    if arrow.start in around:
        options.append(f"ltail={_quoted(_cluster(arrow.start))}")
    if arrow.end in around:
        options.append(f"lhead={_quoted(_cluster(arrow.end))}")
    if arrow.catch:
        options.append("style=dashed")
    written = f" [{', '.join(options)}]" if options else ""
    return f"{_quoted(arrow.start)} -> {_quoted(arrow.end)}{written}"


def _cluster(key: str) -> str:
    return f"cluster_{key}"


def _label(box: Box) -> str:
    return _quoted("\n".join(box.lines))


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'

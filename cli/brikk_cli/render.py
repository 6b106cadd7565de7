"""Everything that commands print: JSON for programs on stdout, tables for people."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

_WIDTH_OF_FILES = 10_000
"""Tables that go into a file or a pipe have a line per row, however long."""

_STATE_STYLES = {
    "SUCCEEDED": "green",
    "DELIVERED": "green",
    "READY": "green",
    "HEALTHY": "green",
    "DEGRADED": "yellow",
    "SILENT": "red",
    "RESOLVED": "green",
    "FAILED": "red",
    "FIRING": "red",
    "QUARANTINED": "red",
    "UNKNOWN": "red",
    "CANCELLED": "yellow",
    "TERMINATED": "yellow",
    "PAUSED": "yellow",
    "ACKNOWLEDGED": "yellow",
    "DISABLED": "red",
    "ACTIVE": "green",
    "BACKING_OFF": "yellow",
    "SUSPECT": "yellow",
    "RUNNING": "cyan",
    "BUSY": "cyan",
    "WAITING": "blue",
    "QUEUED": "blue",
    "SKIPPED": "dim",
    "SNOOZED": "dim",
    "PENDING": "dim",
    "DRAINING": "dim",
    "MAINTENANCE": "dim",
}

Cell = str | int | Text


def console(*, stderr: bool = False) -> Console:
    """Where people read: stdout for answers, stderr for progress and errors."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(file=stream, width=None if stream.isatty() else _WIDTH_OF_FILES, highlight=False)


def print_json(document: Mapping[str, object]) -> None:
    """Prints the one JSON document of a command."""
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    sys.stdout.flush()  # the command may go on for hours


def print_json_line(document: Mapping[str, object]) -> None:
    """Prints one of the JSON documents of a command that goes on, in a line of its own."""
    sys.stdout.write(json.dumps(document, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def as_json(message: Message) -> dict[str, Any]:
    """A message as JSON under the names of its contract, fields without a value included."""
    return json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def table(columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> Table:
    """A table whose cells show what came from elsewhere as it is, without any effect."""
    drawn = Table(box=None, pad_edge=False)
    for column in columns:
        drawn.add_column(column, overflow="fold")  # a name that is cut short is no name
    for row in rows:
        drawn.add_row(*(cell if isinstance(cell, Text) else plain(str(cell)) for cell in row))
    return drawn


def show(what: RenderableType) -> None:
    """Prints an answer for people."""
    console().print(what)


def plain(text: str) -> Text:
    """Text of a stranger: what would move the cursor or change colours is shown, not done."""
    printable = (
        char if char.isprintable() or char == "\n" else char.encode("unicode_escape").decode()
        for char in text
    )
    return Text("".join(printable))


def state(enum_name: str) -> Text:
    """A state without its prefix, in its colour."""
    name = enum_name.removeprefix("STATE_")
    return Text(name.lower().replace("_", " "), style=_STATE_STYLES.get(name, ""))


def moment(timestamp: Timestamp) -> str:
    """A time of day in the user's zone, to the second; empty when it is not set."""
    if not timestamp.ByteSize():
        return ""
    return timestamp.ToDatetime().astimezone().isoformat(sep=" ", timespec="seconds")


def duration(value: timedelta) -> str:
    """A length of time in the unit that reads best."""
    seconds = value.total_seconds()
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 120:
        return f"{seconds:.1f} s"
    return str(timedelta(seconds=round(seconds)))


def money(micros: int) -> str:
    """Millionths of a currency in whole units; empty when it is free or unknown."""
    return f"{micros / 1_000_000:.6f}".rstrip("0").rstrip(".") if micros else ""


def between(start: Timestamp, end: Timestamp) -> str:
    """How long it took; empty as long as it is not over."""
    if not start.ByteSize() or not end.ByteSize():
        return ""
    return duration(end.ToDatetime() - start.ToDatetime())

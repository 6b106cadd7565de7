"""What users hand to commands: files, stdin, and JSON inputs and outputs of executions."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import typer
from google.protobuf import json_format
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp

from brikk_cli.failures import CommandError, ExitCode, describe
from brikk_shared.errors import InvalidArgument
from brikk_shared.structs import to_struct, to_value


def read_file(file: Path) -> bytes:
    """The content of a file, or of stdin for `-`; CommandError when it cannot be read."""
    if str(file) == "-":
        return sys.stdin.buffer.read()
    try:
        return file.read_bytes()
    except OSError as error:
        raise _refused(f"{file}: {error.strerror}") from None


def read_input(file: Path | None, text: str | None, *, what: str = "input") -> Struct:
    """The object that a file (`-` for stdin) or a text holds; empty when there is neither.

    `what` it is: the options are --WHAT and --WHAT-json.

    Raises CommandError when both are given, or what is given is not a JSON object.
    """
    if file is not None and text is not None:
        raise _refused(f"give --{what} or --{what}-json, not both")
    if file is not None:
        return parse_input(read_file(file), str(file), what=what)
    if text is not None:
        return parse_input(os.fsencode(text), f"--{what}-json", what=what)
    return Struct()


def read_labels(labels: Iterable[str] | None) -> dict[str, str]:
    """Labels given as KEY=VALUE; CommandError for what is none."""
    read = {}
    for label in labels or ():
        key, equals, value = label.partition("=")
        if not equals:
            raise _refused(f"--label {label}: write KEY=VALUE")
        read[key] = value
    return read


def parse_input(content: bytes, where: str, *, what: str = "input") -> Struct:
    """A JSON object as a Struct; `where` names its source in the CommandError raised otherwise."""
    document = _parse(content, where)
    if not isinstance(document, dict):
        raise _refused(f"{where}: the {what} must be a JSON object")
    try:
        return to_struct(document, field=what)
    except InvalidArgument as error:
        raise _refused(f"{where}: {describe(error)}") from None


def parse_message(content: bytes, where: str, message: Message) -> None:
    """Reads a JSON object into a message; `where` names its source in the CommandError else."""
    try:
        json_format.ParseDict(_parse(content, where), message)
    except json_format.ParseError as error:
        raise _refused(f"{where}: {error}") from None


def parse_value(text: str, where: str) -> Value:
    """Any JSON as a Value; `where` names its source in the CommandError raised otherwise."""
    document = _parse(os.fsencode(text), where)
    try:
        return to_value(document, field=where)
    except InvalidArgument as error:
        raise _refused(f"{where}: {describe(error)}") from None


def _parse(content: bytes, where: str) -> Any:
    try:
        return json.loads(content)
    except json.JSONDecodeError as error:
        raise _refused(f"{where}:{error.lineno}:{error.colno}: not JSON: {error.msg}") from None
    except UnicodeDecodeError as error:
        raise _refused(f"{where}: not UTF-8 at byte {error.start}") from None
    except RecursionError:
        raise _refused(f"{where}: the input is nested too deeply") from None


def to_timestamp(time: datetime | None) -> Timestamp | None:
    """The message of a time, None for none; a time without a zone is the user's."""
    if time is None:
        return None
    timestamp = Timestamp()
    timestamp.FromDatetime(time.astimezone(UTC))
    return timestamp


def parse_duration(text: str) -> timedelta:
    """A duration like `250ms`, `10s`, `5m`, `2h` or `1d`; as typer wants it of a parser."""
    # Here, because loading the settings takes longer than most commands.
    from pydantic import TypeAdapter, ValidationError

    from brikk_shared.settings import Duration

    adapter: TypeAdapter[timedelta] = TypeAdapter(Duration)
    try:
        return adapter.validate_python(text)
    except ValidationError:
        raise typer.BadParameter(f"{text!r} is no duration: write 10s, 5m, 2h or 1d") from None


def _refused(message: str) -> CommandError:
    return CommandError(message, exit_code=ExitCode.USAGE)

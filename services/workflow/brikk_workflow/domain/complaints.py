"""What the CEL runtime complains about, in words that help the author of an expression."""

from __future__ import annotations

import re
from collections.abc import Sequence

_UNDECLARED = re.compile(r"undeclared reference to '([^'.]+)[^']*'(?: \(in container ''\))?")


def compile_complaints(report: str, readable: Sequence[str]) -> list[str]:
    """Return what is wrong with an expression, without the runtime's drawing of the place.

    `readable` are the variables that there are.
    """
    report = _UNDECLARED.sub(
        lambda found: (
            f"there is no `{found[1]}`; expressions read"
            f" {', '.join(readable[:-1])} and {readable[-1]} here"
        ),
        report,
    )
    found = re.findall(r"ERROR: <input>:(-?\d+):(-?\d+): (.*)", report)
    problems = {
        plainly(message) if int(column) < 1 else f"at character {column}: {plainly(message)}": None
        for _, column, message in found
    }
    return list(problems) or [plainly(report)]


def plainly(message: str) -> str:
    """Return a message of the runtime in words that help the author of the expression."""
    message = re.sub(r"^[A-Z_]+: ", "", message).removeprefix("Syntax error: ")
    message = re.sub(r" \[[A-Z_]+\]$| \(in container ''\)| expecting \{.*", "", message)
    if message.startswith("No matching overloads found") and "int64" in message:
        message += " (numbers in data are doubles: write 1.0 instead of 1)"
    if message == "reserved identifier: loop":
        return "there is no `loop` here: the steps inside a map or a loop read it"
    if reserved := re.fullmatch(r"reserved identifier: (\w+)", message):
        return f"`{reserved[1]}` is a word that CEL keeps for itself"
    if message == "mismatched input '<EOF>'":
        message = "it ends too early"
    if unreadable := re.fullmatch(r"no viable alternative at input '(.*)'", message, re.DOTALL):
        message = f"`{unreadable[1]}` is not how an expression goes on"
    if "recursion" in message:
        message = "it nests too deeply, or has too many operators in a row: split it up"
    if message == "Iteration budget exceeded":
        message = "its list macros take too many turns; at most 9,999 are possible"
    return message

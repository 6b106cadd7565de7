"""What the CEL runtime complains about, in words that help the author of an expression."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

_UNDECLARED = re.compile(r"undeclared reference to '([^'.]+)[^']*'(?: \(in container ''\))?")
_NOTHING: Mapping[str, str] = MappingProxyType({})


def compile_complaints(
    report: str, readable: Sequence[str], reserved: Mapping[str, str]
) -> list[str]:
    """Return what is wrong with an expression, without the runtime's drawing of the place.

    `readable` are the variables that there are; `reserved` says of words that CEL keeps for itself
    why they are none here.
    """
    report = _UNDECLARED.sub(
        lambda found: f"there is no `{found[1]}`; expressions read {_listed(readable)} here",
        report,
    )
    found = re.findall(r"ERROR: <input>:(-?\d+):(-?\d+): (.*)", report)
    problems = {
        said if int(column) < 1 else f"at character {column}: {said}": None
        for _, column, message in found
        for said in [plainly(message, reserved)]
    }
    return list(problems) or [plainly(report, reserved)]


def plainly(message: str, reserved: Mapping[str, str] = _NOTHING) -> str:
    """Return a message of the runtime in words that help the author of the expression."""
    message = re.sub(r"^[A-Z_]+: ", "", message).removeprefix("Syntax error: ")
    message = re.sub(r" \[[A-Z_]+\]$| \(in container ''\)| expecting \{.*", "", message)
    if message.startswith("No matching overloads found") and "int64" in message:
        message += " (numbers in data are doubles: write 1.0 instead of 1)"
    if word := re.fullmatch(r"reserved identifier: (\w+)", message):
        return reserved.get(word[1], f"`{word[1]}` is a word that CEL keeps for itself")
    if message == "mismatched input '<EOF>'":
        message = "it ends too early"
    if unreadable := re.fullmatch(r"no viable alternative at input '(.*)'", message, re.DOTALL):
        message = f"`{unreadable[1]}` is not how an expression goes on"
    if "recursion" in message:
        message = "it nests too deeply, or has too many operators in a row: split it up"
    if message == "Iteration budget exceeded":
        message = "its list macros take too many turns; at most 9,999 are possible"
    return message


def _listed(names: Sequence[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last

"""What an expression may not do, because CEL's runtime bounds iterations but not memory.

`[s].map(a, a + a)` repeated twenty times makes a gigabyte of a kilobyte, and so do chains of
`replace`. The runtime counts neither, and evaluates while it holds the interpreter: one
expression could end the process. These rules are decided on the text, so a definition that is
accepted cannot grow a value more than `MAX_GROWTH` times.
"""

from __future__ import annotations

import math
import re

from brikk_workflow.domain.tokens import Kind, Reference, Token, is_sign, selects

MAX_GROWTH = 128
MAX_LIST = 1000
MAX_MACROS = 4
MAX_SHARING = 1000

_MACROS = frozenset(
    {"all", "exists", "exists_one", "existsOne", "filter", "map", "optMap", "optFlatMap"}
)


def excesses(tokens: list[Token], variables: list[Reference]) -> list[str]:
    """Return what must be written differently; `variables` are the references to data."""
    macros = _calls(tokens, _MACROS)
    problems = []
    growth = max(1, len(variables)) * _text_growth(tokens)
    if growth > MAX_GROWTH:
        problems.append(
            f"may make a value {growth} times as large as its data; at most {MAX_GROWTH} times is"
            " accepted: split it into several steps"
        )
    if len(macros) > MAX_MACROS:
        problems.append(f"uses {len(macros)} list macros; at most {MAX_MACROS} are accepted")
    if math.prod(_uses(tokens, macro) for macro in macros) > MAX_SHARING:
        problems.append("repeats the variables of its list macros too often")
    if _calls(tokens, {"quote"}):
        problems.append("uses `strings.quote`, which is not supported")
    if macros:
        problems += _inside_macros(tokens)
    return problems


def _inside_macros(tokens: list[Token]) -> list[str]:
    problems = []
    if any(_adds_anything(tokens, index) for index in range(len(tokens))):
        problems.append(
            "joins with `+` beside a list macro, where only numbers can be added:"
            " one side must be a number, as in `x.price + 0.0`"
        )
    if _calls(tokens, {"format"}):
        problems.append("uses `format` beside a list macro: do it in the text around `${...}`")
    for start in _calls(tokens, {"split"}):
        arguments = _arguments(tokens, start)
        limit = arguments[-1] if len(arguments) == 2 else []
        if len(limit) != 1 or not limit[0].text.isdigit() or int(limit[0].text) > MAX_LIST:
            problems.append(
                f"uses `split` beside a list macro without a limit of at most {MAX_LIST}:"
                " write `split(',', 100)`"
            )
    return problems


def _text_growth(tokens: list[Token]) -> int:
    """Return how much longer `replace` and `join` can make a text."""
    growth = 1
    for start in _calls(tokens, {"replace", "join"}):
        arguments = _arguments(tokens, start)
        inserted = arguments[1] if len(arguments) > 1 else arguments[0] if arguments else []
        if [token.kind for token in inserted] == [Kind.STRING]:
            replaces_one = len(arguments) > 1 and _is_plain_text(arguments[0])
            growth *= max(1, len(inserted[0].text) - 2 + (0 if replaces_one else 1))
        elif inserted:
            growth *= MAX_GROWTH + 1  # a text of unknown length
    return growth


def _calls(tokens: list[Token], names: frozenset[str] | set[str]) -> list[int]:
    """Return the indexes of the names that are called."""
    return [
        index
        for index, token in enumerate(tokens)
        if token.kind is Kind.NAME and token.text in names and is_sign(tokens, index + 1, "(")
    ]


def _arguments(tokens: list[Token], start: int) -> list[list[Token]]:
    """Return the arguments of the call whose name stands at `start`, empty ones left out."""
    arguments: list[list[Token]] = [[]]
    depth = 0
    for token in tokens[start + 1 :]:
        if token.kind is Kind.SIGN and token.text in ")]}":
            depth -= 1
            if depth == 0:
                break
        if depth == 1 and token.text == ",":
            arguments.append([])
        elif depth >= 1:
            arguments[-1].append(token)
        if token.kind is Kind.SIGN and token.text in "([{":
            depth += 1
    return [argument for argument in arguments if argument]


def _uses(tokens: list[Token], macro: int) -> int:
    """Return how often a macro uses its variable, at least 1."""
    variable, *body = _arguments(tokens, macro) or [[]]
    if len(variable) != 1:
        return 1
    name = variable[0].text
    return max(
        1,
        sum(
            token.kind is Kind.NAME and token.text == name and not selects(part, index)
            for part in body
            for index, token in enumerate(part)
        ),
    )


def _adds_anything(tokens: list[Token], index: int) -> bool:
    """Tell whether a `+` stands here whose sides are not surely numbers."""
    if not is_sign(tokens, index, "+"):
        return False
    after = index + 2 if is_sign(tokens, index + 1, "-") else index + 1
    sides = tokens[max(0, index - 1) : index] + tokens[after : after + 1]
    return not any(token.kind in (Kind.FLOAT, Kind.INTEGER) for token in sides)


def _is_plain_text(argument: list[Token]) -> bool:
    """Tell whether the argument is surely a text of one character or more."""
    return (
        len(argument) == 1
        and argument[0].kind is Kind.STRING
        and re.fullmatch(r"""(['"])[^'"]+\1""", argument[0].text) is not None
    )

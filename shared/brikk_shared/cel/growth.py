"""What an expression may not do, because CEL's runtime bounds turns but neither memory nor time.

`[s].map(a, a + a)` repeated twenty times makes a gigabyte of a kilobyte, chains of `replace` do
the same, and a thousand copies of a long text are as bad. The runtime counts none of it and holds
the interpreter meanwhile: one expression could end the process. These rules are decided on the
text, so that an expression that was accepted makes values at most `MAX_GROWTH` times its data.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from brikk_shared.cel.tokens import Kind, Reference, Token, is_sign, selects

MAX_GROWTH = 128
MAX_LIST = 1000
MAX_MACROS = 4
MAX_REPETITION = 1000

_MAPS = frozenset({"map", "optMap", "optFlatMap"})
_MACROS = _MAPS | {"all", "exists", "exists_one", "existsOne", "filter"}
_TEXT_MAKERS = frozenset(
    {
        "bytes",
        "charAt",
        "format",
        "join",
        "lowerAscii",
        "replace",
        "reverse",
        "split",
        "string",
        "substring",
        "trim",
        "upperAscii",
    }
)


@dataclass(frozen=True, slots=True)
class _Macro:
    """A list macro: its variable and the tokens, from `first` up to `end`, that use it.

    `maps`: what it makes of each item goes on, so that texts may be made of it elsewhere.
    """

    variable: str
    maps: bool
    first: int
    end: int

    def holds(self, index: int) -> bool:
        return self.first <= index < self.end


def count_macros(tokens: list[Token]) -> int:
    """Return how many list macros an expression has."""
    return len(_calls(tokens, _MACROS))


def bound(tokens: list[Token]) -> list[tuple[str, range]]:
    """Return the variables of the list macros, each with the tokens among which it is known."""
    macros = [_macro(tokens, start) for start in _calls(tokens, _MACROS)]
    return [(macro.variable, range(macro.first - 1, macro.end)) for macro in macros]


def excesses(tokens: list[Token], variables: list[Reference]) -> list[str]:
    """Return what must be written differently; `variables` are the references to data."""
    macros = [_macro(tokens, start) for start in _calls(tokens, _MACROS)]
    sums = [index for index in range(len(tokens)) if is_sign(tokens, index, "+")]
    text_sums = [index for index in sums if _has_side(tokens, index, Kind.STRING)]
    makers = [*text_sums, *_calls(tokens, _TEXT_MAKERS)]
    repetition = math.prod(_uses(tokens, macro) for macro in macros)
    growth = max(1, len(variables)) * _insertion(tokens)
    if makers:
        growth *= repetition
    problems = []
    if growth > MAX_GROWTH:
        problems.append(
            f"may make a value {growth} times as large as its data; {MAX_GROWTH} times is the most:"
            " do it in parts"
        )
    if repetition > MAX_REPETITION:
        problems.append("repeats the variables of its list macros too often")
    if len(macros) > MAX_MACROS:
        problems.append(f"has {len(macros)} list macros; {MAX_MACROS} are the most")
    if _calls(tokens, {"quote"}):
        problems.append("calls `strings.quote`, which is not available")
    problems += [
        f"makes texts and reads more than `{macro.variable}` for each `{macro.variable}`:"
        " put the rest outside of the list macro"
        for macro in macros
        if any(macro.maps or macro.holds(maker) for maker in makers)
        and _reads_outside(tokens, macro, macros, variables)
    ]
    if macros and any(
        index not in text_sums and not _has_side(tokens, index, Kind.FLOAT, Kind.INTEGER)
        for index in sums
    ):
        problems.append(
            "has a list macro and a `+` that could join lists: beside it write a number or a text,"
            " as in `x + 0.0` or `a + '' + b`"
        )
    return problems + _unlimited_splits(tokens)


def _macro(tokens: list[Token], start: int) -> _Macro:
    variable = tokens[start + 2].text if start + 2 < len(tokens) else ""
    end = _closing(tokens, start + 1)
    return _Macro(variable, tokens[start].text in _MAPS, start + 3, end)


def _uses(tokens: list[Token], macro: _Macro) -> int:
    """Return how often a macro uses its variable, at least 1."""
    return max(1, len(_named(tokens, macro, macro.variable)))


def _reads_outside(
    tokens: list[Token], macro: _Macro, macros: list[_Macro], variables: list[Reference]
) -> bool:
    """Tell whether the body of a macro reads data, or the variable of a macro around it."""
    around = {each.variable for each in macros if each.holds(macro.first)} - {macro.variable}
    return any(macro.holds(variable.first) for variable in variables) or any(
        _named(tokens, macro, name) for name in around
    )


def _named(tokens: list[Token], macro: _Macro, name: str) -> list[int]:
    return [
        index
        for index in range(macro.first, macro.end)
        if tokens[index].kind is Kind.NAME
        and tokens[index].text == name
        and not selects(tokens, index)
    ]


def _unlimited_splits(tokens: list[Token]) -> list[str]:
    """Find texts that are split into more items than a list may have."""
    limits = [_arguments(tokens, start)[1:] for start in _calls(tokens, {"split"})]
    return [
        f"splits into a list without a limit: write `split(',', 100)`, {MAX_LIST} at most"
        for limit in limits
        if [len(tokens) for tokens in limit] != [1]
        or not limit[0][0].text.isdigit()
        or int(limit[0][0].text) > MAX_LIST
    ]


def _insertion(tokens: list[Token]) -> int:
    """Return how much longer `replace` and `join` can make a text."""
    growth = 1
    for start in _calls(tokens, {"replace", "join"}):
        arguments = _arguments(tokens, start)
        inserted = arguments[1] if len(arguments) > 1 else arguments[0] if arguments else []
        if [token.kind for token in inserted] == [Kind.STRING]:
            replaces_some = len(arguments) > 1 and _is_plain_text(arguments[0])
            growth *= max(1, len(inserted[0].text) - 2 + (0 if replaces_some else 1))
        elif inserted:
            growth *= MAX_GROWTH + 1  # a text of unknown length
    return growth


def _is_plain_text(argument: list[Token]) -> bool:
    """Tell whether the argument is surely a text of one character or more."""
    return (
        len(argument) == 1
        and argument[0].kind is Kind.STRING
        and re.fullmatch(r"""(['"])[^'"]+\1""", argument[0].text) is not None
    )


def _has_side(tokens: list[Token], index: int, *kinds: Kind) -> bool:
    """Tell whether a literal of these kinds is an operand: then the result is of its kind."""
    after = index + 2 if is_sign(tokens, index + 1, "-") else index + 1
    sides = tokens[max(0, index - 1) : index]
    if not any(is_sign(tokens, after + 1, sign) for sign in ".["):
        sides = sides + tokens[after : after + 1]
    return any(token.kind in kinds for token in sides)


def _calls(tokens: list[Token], names: frozenset[str] | set[str]) -> list[int]:
    """Return the indexes of the names that are called."""
    return [
        index
        for index, token in enumerate(tokens)
        if token.kind is Kind.NAME and token.text in names and is_sign(tokens, index + 1, "(")
    ]


def _closing(tokens: list[Token], opening: int) -> int:
    """Return the index of the bracket that closes the one at `opening`."""
    depth = 0
    for index in range(opening, len(tokens)):
        if tokens[index].kind is Kind.SIGN:
            depth += (tokens[index].text in "([{") - (tokens[index].text in ")]}")
            if depth == 0:
                return index
    return len(tokens)


def _arguments(tokens: list[Token], start: int) -> list[list[Token]]:
    """Return the arguments of the call whose name stands at `start`."""
    arguments: list[list[Token]] = []
    index, end = start + 2, _closing(tokens, start + 1)
    begin = index
    while index < end:
        if is_sign(tokens, index, ","):
            arguments.append(tokens[begin:index])
            begin = index + 1
        elif tokens[index].kind is Kind.SIGN and tokens[index].text in "([{":
            index = _closing(tokens, index)
        index += 1
    return [*arguments, tokens[begin:end]] if begin < end else arguments

"""Regular expressions in RE2, whose time is linear in the text: Python's own can take for ever."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache

from cel_expr_python import cel


def compile_pattern(pattern: str) -> Callable[[str], bool]:
    """Return a function that tells whether a text holds a match. Raises ValueError."""
    # A JSON string is a CEL string: the runtime then compiles the pattern once.
    literal = json.dumps(pattern, ensure_ascii=False)
    program = _environment().compile(f"text.matches({literal})")

    def matches(text: str) -> bool:
        found = program.eval(data={"text": text})
        if found.type() != cel.Type.BOOL:
            raise ValueError(str(found.value()).partition(": ")[2])
        return bool(found.value())

    matches("")
    return matches


@cache
def _environment() -> cel.Env:
    return cel.NewEnv(variables={"text": cel.Type.STRING})

"""How a command runs: its work, then an exit code; failures become one line, never a traceback."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import typer

from brikk_cli.failures import CommandError, complaint, document, exit_code
from brikk_cli.render import console, plain, print_json
from brikk_cli.signals import run
from brikk_shared.errors import BrikkError

_INTERRUPTED = 130


def perform(
    work: Coroutine[Any, Any, int | None],
    *,
    as_json: bool,
    print_document: Callable[[Mapping[str, object]], None] = print_json,
) -> None:
    """Runs the work of a command; its result is the exit code, 0 when it returns nothing.

    With `as_json`, a failure is printed as a document on stdout, too.
    """
    try:
        code = run(work)
    except (BrikkError, CommandError) as error:
        console(stderr=True).print(plain(complaint(error)), soft_wrap=True)
        if as_json:
            print_document(document(error))
        code = exit_code(error)
    except KeyboardInterrupt:
        code = _INTERRUPTED
    raise typer.Exit(code or 0)

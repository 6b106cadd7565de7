"""The lines of all children on one screen, each under the coloured name of its process."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from brikk_cli.plan import SERVICES, VALKEY, WORKERS
from brikk_cli.render import plain

_STYLES = dict(
    zip(
        (*SERVICES, VALKEY, *WORKERS),
        ("cyan", "green", "magenta", "yellow", "blue", "bright_magenta", "bright_yellow"),
        strict=True,
    )
)
_WIDTH = max(map(len, _STYLES))


class LogPrinter:
    """A log sink for `Suite` that prints."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def __call__(self, name: str, line: str) -> None:
        """Prints one line of a child."""
        prefix = (f"{name:<{_WIDTH}} ", _STYLES.get(name, "white"))
        self._console.print(Text.assemble(prefix, plain(line)), soft_wrap=True)

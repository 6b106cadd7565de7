"""`brikk demo`: everything once, for real, with a verdict."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from brikk_cli.failures import CommandError, ExitCode
from brikk_cli.options import DatabaseOption, JsonOption
from brikk_cli.render import console, plain, print_json, show
from brikk_cli.session import perform
from brikk_shared.clock import SystemClock
from brikk_shared.errors import BrikkError


def demo(
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the folder with data, keys and logs.")
    ] = False,
    database_url: DatabaseOption = None,
    json: JsonOption = False,
) -> None:
    """Run real agents on real records in a suite of its own, and see whether all went well.

    It uses a temporary folder and free ports, so it runs beside `brikk up` and again. Exit code 1
    when any part failed; then the folder is kept.
    """
    perform(_demo(keep, database_url, json), as_json=json)


async def _demo(keep: bool, database_url: str | None, json: bool) -> int:
    # Here, because loading all that runs a suite takes longer than most other commands.
    from brikk_cli.demo.examples import Examples
    from brikk_cli.demo.progress import DemoProgress
    from brikk_cli.demo.run import LOG_FILE, run_demo

    errors = console(stderr=True)
    folder = Path(tempfile.mkdtemp(prefix="brikk-demo-"))
    try:
        progress = DemoProgress(errors, SystemClock())
        outcome = await run_demo(folder, Examples.find(), progress, database_url=database_url)
        problems = list(outcome.problems())
        keep = keep or bool(problems)
    except (BrikkError, CommandError):
        keep = True
        raise
    finally:
        if keep:
            errors.print(plain(f"kept {folder}; logs in {folder / LOG_FILE}"), soft_wrap=True)
        else:
            shutil.rmtree(folder)
    if json:
        print_json(outcome.document())
    else:
        show(outcome.view())
    for problem in problems:
        errors.print(plain(f"brikk: {problem}"), soft_wrap=True)
    return ExitCode.FAILED if problems else 0

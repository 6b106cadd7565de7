"""Runs a benchmark: `python -m bench workflow [--quick] [--json]`."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import Coroutine

from bench import commit, discovery, monitoring, reading, selection, webhooks, workflow
from bench.report import Report, print_table

BENCHES = {
    "commit": commit.measure,
    "discovery": discovery.measure,
    "monitoring": monitoring.measure,
    "reading": reading.measure,
    "selection": selection.measure,
    "webhooks": webhooks.measure,
    "workflow": workflow.measure,
}


def main() -> None:
    """Reads the command line; the JSON object, if asked for, is the last line on stdout."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("name", choices=BENCHES)
    parser.add_argument("--quick", action="store_true", help="fewer cases and runs; < 5 minutes")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    arguments = parser.parse_args()
    report = asyncio.run(_until_terminated(BENCHES[arguments.name](quick=arguments.quick)))
    print_table(report, file=sys.stderr if arguments.json else sys.stdout)
    if arguments.json:
        print(json.dumps(report.to_json()))


async def _until_terminated(measuring: Coroutine[None, None, Report]) -> Report:
    """Ends in good order on SIGTERM too, so that no process is left behind."""
    task = asyncio.ensure_future(measuring)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await task


if __name__ == "__main__":
    main()

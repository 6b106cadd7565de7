"""Runs a benchmark: `python -m bench workflow [--quick] [--json]`."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys

from bench import workflow
from bench.report import print_table

BENCHES = {"workflow": workflow.measure}


def main() -> None:
    """Reads the command line; the JSON object, if asked for, is the last line on stdout."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("name", choices=BENCHES)
    parser.add_argument("--quick", action="store_true", help="fewer cases and runs; < 5 minutes")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    arguments = parser.parse_args()
    report = asyncio.run(BENCHES[arguments.name](quick=arguments.quick))
    print_table(report, file=sys.stderr if arguments.json else sys.stdout)
    if arguments.json:
        print(json.dumps(report.to_json()))


if __name__ == "__main__":
    main()

"""What a benchmark found: its cases, each beside the limit that was measured in the same run."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median, quantiles
from typing import TextIO

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One case: units per second, latency of one unit of work, and the limit measured beside it.

    `ratio` is the median of the ratios of interleaved pairs, so it survives a machine whose speed
    drifts; None where a case has no limit.
    """

    name: str
    rate: float
    p50_ms: float
    p99_ms: float
    limit_rate: float | None = None
    ratio: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """All cases of a benchmark, and the few numbers it is judged by."""

    bench: str
    cases: Sequence[Case]
    headline: Mapping[str, float]

    def to_json(self) -> dict[str, object]:
        """Returns the object that `--json` prints."""
        return {
            "bench": self.bench,
            "machine": machine(),
            "cases": [asdict(case) for case in self.cases],
            "headline": dict(self.headline),
        }


def machine() -> dict[str, object]:
    """Describes where the benchmark ran."""
    return {
        "cpus": os.cpu_count(),
        "machine": platform.machine(),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def middle(values: Sequence[float]) -> float:
    """Returns the median, rounded for people."""
    return round(median(values), 3)


def percentile(values: Sequence[float], percent: int) -> float:
    """Returns a percentile of at least two values, rounded for people."""
    return round(quantiles(values, n=100, method="inclusive")[percent - 1], 3)


def print_table(report: Report, *, file: TextIO) -> None:
    """Prints the cases and the headline."""
    table = Table("case", "per second", "p50 ms", "p99 ms", "limit per second", "ratio")
    for case in report.cases:
        table.add_row(
            case.name,
            f"{case.rate:,.0f}",
            f"{case.p50_ms:.2f}",
            f"{case.p99_ms:.2f}",
            "" if case.limit_rate is None else f"{case.limit_rate:,.0f}",
            "" if case.ratio is None else f"{case.ratio:.2f}",
        )
    console = Console(file=file)
    console.print(table)
    console.print("   ".join(f"{name}: {value}" for name, value in report.headline.items()))

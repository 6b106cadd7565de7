"""What a benchmark found: its cases, each beside the limit that was measured in the same run."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median, quantiles
from typing import TextIO

from rich.console import Console
from rich.table import Table

_WIDTH = 140
"""Of a table that goes into a file."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One case: units per second, latency of one unit of work, and the limit measured beside it.

    `ratio` is the median of the ratios of interleaved pairs, so it survives a machine whose speed
    drifts; None where a case has no limit. `figures` are what else this benchmark is about, None
    where it never came to that.
    """

    name: str
    rate: float
    p50_ms: float
    p99_ms: float
    limit_rate: float | None = None
    ratio: float | None = None
    figures: Mapping[str, float | None] = field(default_factory=dict)


def beside(
    name: str,
    *,
    rates: Sequence[float],
    limits: Sequence[float],
    latencies_ms: Sequence[float],
    figures: Mapping[str, float | None] | None = None,
) -> Case:
    """Makes a case of interleaved pairs: rates of the thing itself, and of its limit."""
    return Case(
        name=name,
        rate=middle(rates),
        p50_ms=percentile(latencies_ms, 50),
        p99_ms=percentile(latencies_ms, 99),
        limit_rate=middle(limits),
        ratio=middle([rate / limit for rate, limit in zip(rates, limits, strict=True)]),
        figures=figures or {},
    )


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
    limited = any(case.limit_rate is not None for case in report.cases)
    figures = list(dict.fromkeys(name for case in report.cases for name in case.figures))
    table = Table("case", "per second", "p50 ms", "p99 ms")
    for column in (["limit per second", "ratio"] if limited else []) + figures:
        table.add_column(column)
    for case in report.cases:
        row = [case.name, f"{case.rate:,.0f}", f"{case.p50_ms:.2f}", f"{case.p99_ms:.2f}"]
        if limited:
            row.append("" if case.limit_rate is None else f"{case.limit_rate:,.0f}")
            row.append("" if case.ratio is None else f"{case.ratio:.2f}")
        for name in figures:
            value = case.figures.get(name, "")
            row.append(
                "never" if value is None else value if isinstance(value, str) else f"{value:g}"
            )
        table.add_row(*row)
    console = Console(file=file, width=None if file.isatty() else _WIDTH)
    console.print(table)
    console.print("   ".join(f"{name}: {value}" for name, value in report.headline.items()))

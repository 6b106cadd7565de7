"""What a series is called: a metric and the dimensions that it is counted by.

`steps` counts all steps of an organisation, `steps;workflow=triage;step=read` those of one step.
The metric and the names of the dimensions together are the group, `steps;workflow;step`: its series
add up to the metric's own series, as far as events name the dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final

OTHERS: Final = "-"
"""Stands for every value of a dimension beyond the cap of series; nothing can be called so."""

_MAX_VALUE: Final = 128


class Metric(StrEnum):
    """What the events of the services are counted as; other metrics are reported by name."""

    EXECUTIONS = "executions"
    STEPS = "steps"
    CALLS = "calls"
    AGENTS = "agents"
    DELIVERIES = "deliveries"


_COUNTED: Final = frozenset(Metric)


class Dimension(StrEnum):
    """What series are counted by. The values are ids, without the name of a collection."""

    WORKFLOW = "workflow"
    STEP = "step"
    AGENT = "agent"
    CAPABILITY = "capability"
    SERVICE = "service"


@dataclass(frozen=True, kw_only=True, slots=True)
class Series:
    """The parts of a series' name."""

    metric: str
    dimensions: Mapping[str, str]
    group: str
    """Empty when there are no dimensions."""
    others: str
    """The series that counts it when the organisation has as many as it may; empty when it always
    has a place."""


def series_name(metric: str, **dimensions: str) -> str:
    """Put a name together; the order of the dimensions is part of it."""
    return ";".join([metric, *(f"{name}={value}" for name, value in dimensions.items())])


def group_name(metric: str, *dimensions: str) -> str:
    """Name the series that a metric has, one for each value of these dimensions."""
    return ";".join([metric, *dimensions])


@lru_cache(maxsize=4096)
def parse_series(name: str) -> Series:
    """Take a name apart."""
    metric, *parts = name.split(";")
    dimensions = dict(part.split("=", 1) for part in parts)
    return Series(
        metric=metric,
        dimensions=dimensions,
        group=group_name(metric, *dimensions) if dimensions else "",
        others=_others(metric, dimensions),
    )


def _others(metric: str, dimensions: Mapping[str, str]) -> str:
    # Reported metrics are called as their makers like, so their names know no bound either.
    known = metric in _COUNTED
    if known and not dimensions:
        return ""
    return series_name(metric if known else OTHERS, **dict.fromkeys(dimensions, OTHERS))


def is_value(value: object) -> bool:
    """Whether it can be the value of a dimension."""
    return (
        isinstance(value, str)
        and 0 < len(value) <= _MAX_VALUE
        and value != OTHERS
        and value.isprintable()
        and not {";", "="} & set(value)
    )

"""What agents are asked to do, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeAlias

from brikk_workflow.domain.decision import Call
from brikk_workflow.domain.failure import Failure
from brikk_workflow.domain.payload import Json
from brikk_workflow.domain.usage import Usage


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """One unit of work for one agent: the order of a step, and the execution it belongs to.

    `execution` is its full name; `traceparent` its W3C trace context, which may be empty. The
    schemas are what the agent says of its capability, as JSON, empty where it says nothing.
    """

    order: Call
    execution: str
    traceparent: str
    input_schema: str = ""
    output_schema: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answered:
    """The agent did the work."""

    output: Mapping[str, Json]
    usage: Usage
    latency: timedelta


@dataclass(frozen=True, kw_only=True, slots=True)
class Refused:
    """The agent failed, could not be reached, or ran out of time."""

    failure: Failure
    usage: Usage
    latency: timedelta


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How far the agent has come, by its own word: the share that is done, 0 to 1."""

    fraction: float
    message: str


Outcome: TypeAlias = Answered | Refused

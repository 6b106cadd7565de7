"""From what people and programs write to a definition, or to every problem in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from brikk_workflow.domain.compiled import CompiledWorkflow


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """What is wrong with a definition, where, and what to write instead; line and column from 1."""

    path: str
    message: str
    line: int = 0
    column: int = 0


def read_yaml(text: str) -> CompiledWorkflow | list[Problem]:
    """Read a definition written as YAML."""
    raise NotImplementedError


def read_message(message: Mapping[str, object]) -> CompiledWorkflow | list[Problem]:
    """Read a definition that a program built, in the shape of the YAML form.

    Durations are timedeltas, unset keys are absent.
    """
    raise NotImplementedError

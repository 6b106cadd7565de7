"""From what people and programs write to a workflow, or to everything that is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping

from brikk_workflow.domain.check import check_definition
from brikk_workflow.domain.compile import compile_workflow
from brikk_workflow.domain.compiled import CompiledWorkflow
from brikk_workflow.domain.problems import Problem, Report
from brikk_workflow.domain.reader import read_definition
from brikk_workflow.domain.yaml_text import load_yaml

__all__ = ["Problem", "read_message", "read_yaml"]


def read_yaml(text: str) -> CompiledWorkflow | list[Problem]:
    """Read a definition written as YAML, or return every problem with its line and column."""
    report = Report()
    loaded = load_yaml(text, report)
    if loaded is None and report.problems:
        return report.in_order()
    return _read(loaded, report)


def read_message(message: Mapping[str, object]) -> CompiledWorkflow | list[Problem]:
    """Read a definition that a program built, or return every problem with its path.

    The message has the shape of the YAML form: unset keys are absent, durations are timedeltas.
    """
    return _read(message, Report())


def _read(raw: object, report: Report) -> CompiledWorkflow | list[Problem]:
    definition = read_definition(raw, report)
    if definition is not None:
        check_definition(definition, report)
    if definition is None or report.problems:
        return report.in_order()
    return compile_workflow(definition, version=0)

"""What a workflow did in a trial, as a tree."""

from __future__ import annotations

import json

from google.protobuf.struct_pb2 import Value
from rich.console import Group
from rich.text import Text
from rich.tree import Tree

from brikk.workflow.v1 import execution_pb2
from brikk.workflow.v1 import workflow_service_pb2 as pb
from brikk_cli.execution_view import problem
from brikk_cli.render import plain, state
from brikk_shared.structs import from_value

_LONGEST = 100


def trial_view(trial: pb.TestWorkflowResponse) -> Group:
    """The steps, each below the one in which it stands, and what came of it all."""
    root = Tree(state(execution_pb2.WorkflowExecution.State.Name(trial.state)))
    nodes: dict[str, Tree] = {}
    for step in sorted(trial.steps, key=lambda each: each.path.count("/")):
        around = step.path
        while around and around not in nodes:
            around = around.rpartition("/")[0]
        name = step.path.removeprefix(f"{around}/") if around else step.path
        nodes[step.path] = nodes.get(around, root).add(_line(name, step))
    end = plain(f"error: {problem(trial.error)}") if trial.HasField("error") else plain("")
    if trial.HasField("output"):
        end = plain(f"output: {_compact(trial.output, None)}")
    return Group(root, end)


def _line(name: str, step: pb.TestedStep) -> Text:
    line = plain(f"{name} ") + state(execution_pb2.StepRun.State.Name(step.state))
    if step.attempts > 1:
        line += plain(f", {step.attempts} attempts")
    if step.problem:
        line += plain(f": {step.problem}")
    elif step.HasField("output"):
        line += plain(f": {_compact(step.output, _LONGEST)}")
    return line


def _compact(value: Value, longest: int | None) -> str:
    text = json.dumps(from_value(value), ensure_ascii=False)
    return text if longest is None or len(text) <= longest else f"{text[: longest - 1]}…"

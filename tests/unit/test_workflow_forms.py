"""A definition is the same as YAML, as a message and as it is stored."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from google.protobuf.message import Message
from hypothesis import given, settings

from brikk.workflow.v1 import workflow_pb2
from brikk_shared.selection import Policy
from brikk_workflow.api.definitions import to_message
from brikk_workflow.api.plain import to_plain
from brikk_workflow.domain import language
from brikk_workflow.domain.definition import Step, WorkflowDefinition
from brikk_workflow.domain.definition_json import definition_from_json, definition_to_json
from brikk_workflow.domain.kinds import KINDS, CallStep
from brikk_workflow.domain.objects import Object
from brikk_workflow.domain.problems import Report
from brikk_workflow.domain.reader import read_definition, write_definition
from brikk_workflow.domain.yaml_text import load_yaml
from support.any_definition import DEFINITIONS, as_text

STORED = """
{"id": "old", "description": "", "input_schema": null, "timeout": 86400000000, "budget":
{"calls": 3, "tokens": null, "cost_micros": null}, "steps": [{"id": "a", "after": [], "when": "",
"capability": "t.a", "input": {"n": 1.0}, "policy": "random", "retry": {"max_attempts": 3,
"initial": 200000, "multiplier": 2.0, "max": 30000000, "jitter": 0.2, "non_retryable": ["ABORTED"]},
"timeout": {"schedule_to_start": 60000000, "start_to_close": 30000000, "schedule_to_close": null},
"at_most_once": "fail"}], "output": null}
"""


def read(raw: object) -> WorkflowDefinition | None:
    report = Report()
    definition = read_definition(raw, report)
    assert not report.problems
    return definition


@settings(max_examples=60, deadline=None)
@given(DEFINITIONS)
def test_every_form_gives_the_definition_back(definition: WorkflowDefinition) -> None:
    stored = json.dumps(definition_to_json(definition))
    assert definition_from_json(json.loads(stored)) == definition
    assert read(to_plain(to_message(definition))) == definition
    yaml = json.dumps(as_text(write_definition(definition)), ensure_ascii=False)
    report = Report()
    assert read(load_yaml(yaml, report)) == definition
    assert not report.problems


def test_a_definition_stored_when_there_were_only_calls() -> None:
    definition = definition_from_json(json.loads(STORED))
    (step,) = definition.steps
    assert step.kind == CallStep(capability="t.a", input={"n": 1.0}, policy=Policy.RANDOM)
    assert definition_to_json(definition) == json.loads(STORED)


def test_the_contract_has_every_kind() -> None:
    fields = workflow_pb2.WorkflowStep.DESCRIPTOR.oneofs_by_name["kind"].fields
    assert {field.name for field in fields} == KINDS.keys()


def test_a_word_of_a_newer_contract_is_refused() -> None:
    message = to_message(definition_from_json(json.loads(STORED)))
    message.steps[0].call.MergeFromString(b"\x18\x4d")  # policy: 77
    report = Report()
    read_definition(to_plain(message), report)
    (problem,) = report.problems
    assert problem.path == "steps[0].call.policy"
    assert problem.message.startswith("expected one of best, least_in_flight")


def test_the_defaults_are_spelt_out() -> None:
    definition = WorkflowDefinition(id="x", steps=(Step(id="a", kind=CallStep(capability="t.a")),))
    step = to_message(definition).steps[0]
    assert step.retry.max_attempts == 3
    assert step.timeout.start_to_close.ToTimedelta() == timedelta(seconds=30)
    assert step.HasField("after")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (language.DEFINITION, workflow_pb2.WorkflowDefinition),
        (language.STEP, workflow_pb2.WorkflowStep),
        (language.CATCH, workflow_pb2.Catch),
        (language.COMPENSATION, workflow_pb2.Compensation),
        (language.BUDGET, workflow_pb2.Budget),
        (language.RETRY, workflow_pb2.RetryPolicy),
        (language.TIMEOUT, workflow_pb2.StepTimeout),
        (language.CALL, workflow_pb2.CallStep),
        (language.MAP, workflow_pb2.MapStep),
        (language.SWITCH, workflow_pb2.SwitchStep),
        (language.CASE, workflow_pb2.SwitchStep.Case),
        (language.LOOP, workflow_pb2.LoopStep),
        (language.WAIT, workflow_pb2.WaitStep),
        (language.SIGNAL, workflow_pb2.SignalStep),
        (language.WORKFLOW, workflow_pb2.SubworkflowStep),
        (language.EMIT, workflow_pb2.EmitStep),
        (language.SET, workflow_pb2.SetStep),
        (language.FAIL, workflow_pb2.FailStep),
        (language.RETURN, workflow_pb2.ReturnStep),
    ],
)
def test_yaml_and_the_contract_have_the_same_names(keys: Object, message: type[Message]) -> None:
    fields = set(message.DESCRIPTOR.fields_by_name)
    assert fields - {"workflow_id", "step_id"} == keys.keys.keys() - ({"name", "id"} - fields)

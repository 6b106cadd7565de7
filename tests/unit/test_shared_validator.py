"""The contract is the validation: each rule, each place it can stand, and what is left alone."""

from __future__ import annotations

import math

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError, Message
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from brikk.discovery.v1 import agent_pb2, discovery_service_pb2
from brikk.event.v1 import event_pb2, event_service_pb2
from brikk.webhooks.v1 import webhook_pb2, webhook_service_pb2
from brikk.workflow.v1 import execution_service_pb2, workflow_pb2, workflow_service_pb2
from brikk_shared.checks import MAX_VIOLATIONS
from brikk_shared.errors import InvalidArgument, Reason
from brikk_shared.structs import to_struct
from brikk_shared.validator import validate


def _problems(message: Message) -> list[tuple[str, str]]:
    try:
        validate(message)
    except InvalidArgument as error:
        assert error.reason is Reason.INVALID_FIELD
        assert error.message.startswith(error.violations[0].field)
        return [(each.field, each.description) for each in error.violations]
    return []


def _webhook(**fields: object) -> webhook_service_pb2.CreateWebhookRequest:
    webhook = webhook_pb2.Webhook(url="http://localhost/", event_types=["*"])
    webhook.MergeFrom(webhook_pb2.Webhook(**fields))  # type: ignore[arg-type]
    return webhook_service_pb2.CreateWebhookRequest(webhook=webhook)


def _start(struct: Struct) -> execution_service_pb2.StartExecutionRequest:
    return execution_service_pb2.StartExecutionRequest(workflow="workflows/w", input=struct)


def _step(**fields: object) -> workflow_service_pb2.ValidateWorkflowRequest:
    step = workflow_pb2.WorkflowStep(step_id="a", **fields)  # type: ignore[arg-type]
    definition = workflow_pb2.WorkflowDefinition(workflow_id="w", steps=[step])
    return workflow_service_pb2.ValidateWorkflowRequest(
        source=workflow_service_pb2.DefinitionSource(definition=definition)
    )


_STEP = "source.definition.steps[0]"


@pytest.mark.parametrize(
    ("message", "problems"),
    [
        (_webhook(), []),
        (webhook_service_pb2.CreateWebhookRequest(), [("webhook", "is required")]),
        (
            webhook_service_pb2.CreateWebhookRequest(webhook=webhook_pb2.Webhook()),
            [("webhook.url", "is required"), ("webhook.event_types", "is required")],
        ),
        (_webhook(description="x" * 1000), []),
        (
            _webhook(description="x" * 1001),
            [("webhook.description", "is longer than 1000 characters")],
        ),
        (_webhook(description="a\0b"), [("webhook.description", "contains a NUL character")]),
        (_webhook(url="ftp://x"), [("webhook.url", "does not match https?://.+")]),
        (_webhook(event_types=["x"] * 50), [("webhook.event_types", "has more than 50 items")]),
        (_webhook(name="whatever"), []),
        # Output only: servicers ignore it.
        (_webhook(create_time=Timestamp(nanos=-1)), []),
        (
            _webhook(retry_schedule=[Duration(seconds=1), Duration()]),
            [("webhook.retry_schedule[1]", "must be at least 0.001 s")],
        ),
        (
            _webhook(retry_schedule=[Duration(seconds=604801)]),
            [("webhook.retry_schedule[0]", "must be at most 604800 s")],
        ),
        (
            _webhook(retry_schedule=[Duration(seconds=1, nanos=-1)]),
            [("webhook.retry_schedule[0]", "is not a duration")],
        ),
        (
            webhook_service_pb2.ListDeliveriesRequest(
                parent="webhooks/a",
                page_size=-1,
                state=9,  # type: ignore[arg-type]
            ),
            [("page_size", "must be at least 0"), ("state", "has no value 9")],
        ),
        (
            agent_pb2.Agent(
                endpoint="localhost:1",
                services=[agent_pb2.AgentService()],
                labels={"a": "x" * 64},
            ),
            [
                ("labels['a']", "is longer than 63 characters"),
                ("services[0].service_id", "is required"),
                ("services[0].capabilities", "is required"),
            ],
        ),
        (
            discovery_service_pb2.HeartbeatRequest(
                beats=[discovery_service_pb2.Beat(agent="agents/a", epoch=-1)]
            ),
            [("beats[0].epoch", "must be at least 1")],
        ),
        (
            _step(retry=workflow_pb2.RetryPolicy(jitter=math.nan, multiplier=101)),
            [
                (f"{_STEP}.retry.multiplier", "must be at most 100"),
                (f"{_STEP}.retry.jitter", "is not a finite number"),
            ],
        ),
        # Present and at its default: jitter has presence, and zero is allowed.
        (_step(retry=workflow_pb2.RetryPolicy(jitter=0.0)), []),
        (
            event_pb2.Event(time=Timestamp(seconds=-62_135_596_801)),
            [
                ("id", "is required"),
                ("source", "is required"),
                ("type", "is required"),
                ("subject", "is required"),
                ("time", "is not a time"),
                ("organization", "is required"),
            ],
        ),
    ],
)
def test_every_broken_rule_is_named(message: Message, problems: list[tuple[str, str]]) -> None:
    assert _problems(message) == problems


def test_an_empty_item_must_match_though_an_empty_field_need_not() -> None:
    assert _problems(_webhook(secret="")) == []
    assert [field for field, _ in _problems(_webhook(event_types=[""]))] == [
        "webhook.event_types[1]"
    ]


def test_what_the_servicer_judges_is_not_looked_into() -> None:
    item = event_service_pb2.PublishItem(position=1, event=event_pb2.Event(id="x" * 1000))
    assert _problems(item) == []
    assert _problems(event_service_pb2.PublishItem(position=1)) == [("event", "is required")]


@pytest.mark.parametrize(
    ("number", "problem"),
    [(math.nan, True), (math.inf, True), (-math.inf, True), (1e308, False)],
)
def test_numbers_in_a_struct_are_finite(number: float, *, problem: bool) -> None:
    struct = to_struct({"a": [{"b": 0}]})
    target = struct.fields["a"].list_value.values[0].struct_value.fields["b"]
    target.number_value = number
    expected = [("input.a[0].b", "is not a finite number")] if problem else []
    assert _problems(_start(struct)) == expected


def test_text_in_a_struct_has_no_nul() -> None:
    struct = Struct()
    struct.fields["a"].string_value = "x\0"
    struct.fields["b"].struct_value.fields["k\0"].bool_value = True
    assert sorted(_problems(_start(struct))) == [
        ("input.a", "contains a NUL character"),
        ("input.b", "has a key with a NUL character"),
    ]


def test_a_struct_is_bounded_in_depth_and_size() -> None:
    def nested(levels: int) -> Struct:
        struct = Struct()
        inner = struct
        for _ in range(levels - 1):
            inner = inner.fields["a"].struct_value
        inner.fields["a"].list_value.SetInParent()
        return struct

    assert _problems(_start(nested(31))) == []
    ((field, description),) = _problems(_start(nested(32)))
    assert field.startswith("input.a.a")
    assert description == "is nested too deeply"
    large = to_struct({"a": "x" * 1_048_576})
    assert _problems(_start(large)) == [("input", "is larger than 1048576 bytes")]


def test_text_without_a_limit_has_one_all_the_same() -> None:
    assert _problems(webhook_pb2.Webhook(url="http://x", event_types=["*"], name="x" * 65_537)) == [
        ("name", "is longer than 65536 characters")
    ]


def test_only_so_many_violations_are_told() -> None:
    beats = [discovery_service_pb2.Beat()] * 400
    assert len(_problems(discovery_service_pb2.HeartbeatRequest(beats=beats))) == MAX_VIOLATIONS


_REQUESTS = [
    discovery_service_pb2.RegisterAgentRequest,
    discovery_service_pb2.HeartbeatRequest,
    webhook_service_pb2.CreateWebhookRequest,
    execution_service_pb2.StartExecutionRequest,
    workflow_service_pb2.CreateWorkflowRequest,
    event_service_pb2.PublishRequest,
]


@given(st.sampled_from(_REQUESTS), st.binary(max_size=300))
def test_whatever_decodes_is_judged(kind: type[Message], content: bytes) -> None:
    message = kind()
    try:
        message.ParseFromString(content)
    except DecodeError:
        return
    before = message.SerializeToString(deterministic=True)
    _problems(message)
    assert message.SerializeToString(deterministic=True) == before

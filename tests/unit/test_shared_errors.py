"""Errors travel as rich statuses and come back as they were, whoever made them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from google.rpc import code_pb2, error_details_pb2, status_pb2

from brikk_shared import errors
from brikk_shared.errors import BrikkError, FieldViolation, Reason, invalid_field, not_found
from brikk_shared.interceptors.errors import fitted
from brikk_shared.status import from_status, to_status

_ALL = [
    errors.Cancelled,
    errors.Unknown,
    errors.InvalidArgument,
    errors.DeadlineExceeded,
    errors.NotFound,
    errors.AlreadyExists,
    errors.PermissionDenied,
    errors.ResourceExhausted,
    errors.FailedPrecondition,
    errors.Aborted,
    errors.OutOfRange,
    errors.Unimplemented,
    errors.Internal,
    errors.Unavailable,
    errors.DataLoss,
    errors.Unauthenticated,
]


def test_there_is_a_class_for_every_canonical_code() -> None:
    assert {each.code for each in _ALL} == set(code_pb2.Code.keys()) - {"OK"}


@pytest.mark.parametrize("kind", _ALL)
def test_an_error_survives_its_status(kind: type[BrikkError]) -> None:
    error = kind(
        Reason.WRONG_STATE,
        "it is so",
        metadata={"resource": "executions/a", "state": "FAILED"},
        violations=[FieldViolation("a.b[2]", "is wrong")],
        retry_after=timedelta(milliseconds=1500),
    )
    back = from_status(to_status(error))
    assert type(back) is kind
    assert (back.reason, back.message, back.metadata) == (error.reason, "it is so", error.metadata)
    assert back.violations == error.violations
    assert back.retry_after == timedelta(seconds=1.5)


def test_a_missing_resource_is_named() -> None:
    status = to_status(not_found("webhooks/a"))
    info = error_details_pb2.ResourceInfo()
    assert any(detail.Unpack(info) for detail in status.details)
    assert info.resource_name == "webhooks/a"


def test_an_invalid_field_is_named_in_text_metadata_and_violations() -> None:
    error = invalid_field("page_size", "must not be negative")
    assert error.message == "page_size must not be negative"
    assert error.metadata == {"field": "page_size"}
    assert error.violations == (FieldViolation("page_size", "must not be negative"),)


def test_a_foreign_status_becomes_the_nearest_of_ours() -> None:
    status = status_pb2.Status(code=code_pb2.UNAVAILABLE, message="model\0overloaded")
    info = error_details_pb2.ErrorInfo(
        reason="OVERLOADED", domain="agents.example", metadata={"retryable": "true"}
    )
    status.details.add().Pack(info)
    status.details.add(type_url="type.googleapis.com/google.rpc.BadRequest", value=b"\xff")
    retry = error_details_pb2.RetryInfo()
    retry.retry_delay.seconds = 2**62
    status.details.add().Pack(retry)
    error = from_status(status)
    assert isinstance(error, errors.Unavailable)
    assert error.reason is Reason.DEPENDENCY_UNAVAILABLE
    assert error.metadata == {"retryable": "true", "reason": "OVERLOADED"}
    assert error.message == "model\N{REPLACEMENT CHARACTER}overloaded"
    assert error.retry_after == timedelta(days=1)


def test_a_code_nobody_knows_is_unknown() -> None:
    assert isinstance(from_status(status_pb2.Status(code=99)), errors.Unknown)


def test_any_error_fits_into_trailers() -> None:
    wide = "\N{SNOWMAN}"
    error = errors.InvalidArgument(
        Reason.INVALID_WORKFLOW,
        wide * 5_000 + "\ud800",
        metadata={f"key{number}": wide * 1_000 for number in range(50)},
        violations=[FieldViolation(f"steps[{number}]", wide * 1_000) for number in range(500)],
    )
    status = to_status(fitted(error))
    percent_encoded = 3 * len(status.message.encode())
    base64 = 4 * status.ByteSize() / 3
    assert percent_encoded + base64 < 8_000
    assert len(from_status(status).violations) >= 5

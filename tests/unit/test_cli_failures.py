"""What people and programs see of a failure."""

from __future__ import annotations

import pytest

from brikk_cli.failures import CommandError, ExitCode, complaint, describe, document, exit_code
from brikk_shared.errors import (
    BrikkError,
    DeadlineExceeded,
    FailedPrecondition,
    FieldViolation,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    Reason,
    Unauthenticated,
    Unavailable,
)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (NotFound(Reason.RESOURCE_NOT_FOUND, "x"), 3),
        (Unauthenticated(Reason.TOKEN_INVALID, "x"), 4),
        (PermissionDenied(Reason.SCOPE_MISSING, "x"), 4),
        (Unavailable(Reason.DEPENDENCY_UNAVAILABLE, "x"), 5),
        (DeadlineExceeded(Reason.DEADLINE_EXCEEDED, "x"), 5),
        (InvalidArgument(Reason.INVALID_FIELD, "x"), 1),
        (FailedPrecondition(Reason.WRONG_STATE, "x"), 1),
        (CommandError("x", exit_code=ExitCode.USAGE), 2),
        (CommandError("x"), 1),
    ],
)
def test_exit_codes(error: BrikkError | CommandError, expected: int) -> None:
    assert exit_code(error) == expected


def test_an_error_is_one_line_with_its_reason_and_its_fields() -> None:
    error = InvalidArgument(
        Reason.INVALID_FIELD,
        "2 fields break their contract",
        violations=[
            FieldViolation("webhook.url", "must match https?://.+"),
            FieldViolation("webhook.event_types", "must not be empty"),
        ],
    )
    assert describe(error) == (
        "2 fields break their contract (INVALID_FIELD): "
        "webhook.url: must match https?://.+; webhook.event_types: must not be empty"
    )
    assert document(error) == {
        "error": {
            "code": "INVALID_ARGUMENT",
            "reason": "INVALID_FIELD",
            "message": "2 fields break their contract",
            "metadata": {},
            "violations": [
                {"field": "webhook.url", "description": "must match https?://.+"},
                {"field": "webhook.event_types", "description": "must not be empty"},
            ],
        }
    }


def test_a_suite_that_does_not_answer_is_asked_about() -> None:
    error = Unavailable(Reason.DEPENDENCY_UNAVAILABLE, "connection refused")
    assert complaint(error) == (
        "brikk: connection refused (DEPENDENCY_UNAVAILABLE); is `brikk up` running?"
    )

from __future__ import annotations

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as st

from brikk_agent import AgentError, InvalidInput, NotRetryable, Retryable
from brikk_agent.errors import status_of


def info_of(status: status_pb2.Status) -> error_details_pb2.ErrorInfo:
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    return info


@pytest.mark.parametrize(
    ("error", "code", "retryable"),
    [
        (Retryable("WARMING_UP", "soon"), grpc.StatusCode.ABORTED, "true"),
        (NotRetryable("NO_SUCH_ORDER", "no"), grpc.StatusCode.FAILED_PRECONDITION, "false"),
        (InvalidInput("order.id", "is odd"), grpc.StatusCode.INVALID_ARGUMENT, "false"),
        (
            AgentError("GONE", "gone", retryable=True, code=grpc.StatusCode.NOT_FOUND),
            grpc.StatusCode.NOT_FOUND,
            "true",
        ),
    ],
)
def test_errors_become_statuses(error: AgentError, code: grpc.StatusCode, retryable: str) -> None:
    status = status_of(error, domain="clerk")
    info = info_of(status)
    assert status.code == code.value[0]
    assert status.message == str(error)
    assert (info.reason, info.domain) == (error.reason, "clerk")
    assert info.metadata["retryable"] == retryable


def test_a_wrong_field_is_named_twice() -> None:
    status = status_of(InvalidInput("order.id", "is odd"), domain="clerk")
    bad = error_details_pb2.BadRequest()
    assert status.details[1].Unpack(bad)
    assert [(each.field, each.description) for each in bad.field_violations] == [
        ("order.id", "is odd")
    ]
    assert info_of(status).metadata["field"] == "order.id"


def test_an_author_cannot_overrule_retryable() -> None:
    error = NotRetryable("X", "no", metadata={"retryable": "true", "order": "1"})
    assert dict(info_of(status_of(error, domain="clerk")).metadata) == {
        "retryable": "false",
        "order": "1",
    }


@given(st.text(), st.dictionaries(st.text(), st.text(), max_size=20))
def test_whatever_an_error_says_can_be_sent(text: str, metadata: dict[str, str]) -> None:
    status = status_of(Retryable(text, text + "\0\ud800", metadata=metadata), domain="clerk")
    assert len(status_pb2.Status.FromString(status.SerializeToString()).message) <= 1000


def test_a_huge_error_stays_below_the_limit_of_trailers() -> None:
    wide = "\U0001f600" * 5000
    status = status_of(
        Retryable("X", wide, metadata={f"{n}{wide}": wide for n in range(50)}), domain="clerk"
    )
    percent_encoded_message = len(status.message.encode()) * 3
    base64_details = status.ByteSize() * 4 / 3
    assert percent_encoded_message + base64_details < 60_000
    plain = status_of(
        Retryable("X", "a" * 5000, metadata={f"{n}": "b" * 500 for n in range(50)}), domain="clerk"
    )
    assert len(plain.message) + plain.ByteSize() * 4 / 3 < 8192

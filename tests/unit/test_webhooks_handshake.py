"""What an endpoint agrees to when it is asked whether it may be posted to."""

from __future__ import annotations

import pytest

from brikk_shared.errors import FailedPrecondition, Reason
from brikk_webhooks.domain.handshake import Permission, agreed_rate, question

ORIGIN = "events.example.com"


@pytest.mark.parametrize(
    ("status", "allowed", "rate", "asked", "agreed"),
    [
        (200, ORIGIN, None, 0, 0),
        (204, "*", "*", 90, 90),
        (200, "EVENTS.example.com", "120", 0, 120),
        (200, ORIGIN, "120", 90, 90),
        (299, ORIGIN, "60", 90, 60),
    ],
)
def test_agreements(status: int, allowed: str, rate: str | None, asked: int, agreed: int) -> None:
    permission = Permission(status=status, origin=allowed, rate=rate)
    assert agreed_rate(permission, origin=ORIGIN, max_rate=asked) == agreed


@pytest.mark.parametrize(
    ("permission", "problem"),
    [
        (Permission(error="no answer within 15 s"), "no answer within 15 s"),
        (Permission(status=405, origin="*"), "it answered 405"),
        (Permission(status=302, origin="*"), "it answered 302"),
        (Permission(status=200), f"its WebHook-Allowed-Origin is not {ORIGIN}"),
        (
            Permission(status=200, origin="example.com"),
            f"its WebHook-Allowed-Origin is not {ORIGIN}",
        ),
        *(
            (
                Permission(status=200, origin="*", rate=rate),
                "its WebHook-Allowed-Rate is no positive number",
            )
            for rate in ("0", "-1", "many", "", "1.5", "9" * 5000)
        ),
    ],
)
def test_refusals(permission: Permission, problem: str) -> None:
    with pytest.raises(FailedPrecondition) as refused:
        agreed_rate(permission, origin=ORIGIN, max_rate=0)
    assert refused.value.reason is Reason.HANDSHAKE_REFUSED
    assert refused.value.metadata == {"problem": problem}


def test_the_question_names_the_rate_when_there_is_one() -> None:
    assert question(ORIGIN, 0) == {"WebHook-Request-Origin": ORIGIN}
    assert question(ORIGIN, 90)["WebHook-Request-Rate"] == "90"

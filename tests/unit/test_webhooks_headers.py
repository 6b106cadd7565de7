"""Which headers requests may carry besides."""

from __future__ import annotations

import pytest

from brikk_webhooks.domain.headers import header_problem, sorted_names


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer abc.def"},
        {"x-team": "ops, desk", "X_Other~1": "a\tb"},
        {"X-Long": "x" * 1024},
    ],
)
def test_headers_that_will_do(headers: dict[str, str]) -> None:
    assert header_problem(headers) is None


@pytest.mark.parametrize(
    ("headers", "problem"),
    [
        ({"": "hunter2"}, "no name"),
        ({"X Y": "hunter2"}, "no name"),
        ({"X:Y": "hunter2"}, "no name"),
        ({"Zoë": "hunter2"}, "no name"),
        ({"X\r\nHost": "hunter2"}, "no name"),
        ({"x" * 65: "hunter2"}, "no name"),
        ({"Host": "hunter2"}, "sets itself"),
        ({"CONTENT-TYPE": "hunter2"}, "sets itself"),
        ({"Transfer-Encoding": "hunter2"}, "sets itself"),
        ({"webhook-signature": "hunter2"}, "sets itself"),
        ({"WebHook-Request-Origin": "hunter2"}, "sets itself"),
        ({"ce-id": "hunter2"}, "sets itself"),
        ({"X-A": ""}, "value of X-A"),
        ({"X-A": " hunter2"}, "value of X-A"),
        ({"X-A": "hunter2\r\nHost: x"}, "value of X-A"),
        ({"X-A": "hunter2\n"}, "value of X-A"),
        ({"X-A": "hünter2"}, "value of X-A"),
        ({"X-A": "hunter2\x7f"}, "value of X-A"),
        ({"X-A": "hunter2", "x-a": "hunter2"}, "twice"),
    ],
)
def test_headers_that_will_not_do_are_named_without_their_values(
    headers: dict[str, str], problem: str
) -> None:
    found = header_problem(headers)
    assert found is not None
    assert problem in found
    assert "hunter2" not in found


def test_names_are_sorted_whatever_their_case() -> None:
    assert sorted_names(["b", "A", "C"]) == ("A", "b", "C")

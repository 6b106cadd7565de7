"""Log lines are JSON or text, name their call, and never hold what the contract marks as secret."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from google.protobuf.message import Message

from brikk.event.v1 import event_pb2
from brikk.webhooks.v1 import webhook_pb2, webhook_service_pb2
from brikk_shared.call import Call, current_call, enter_call, organization
from brikk_shared.identity import Identity
from brikk_shared.logs import set_up_logs
from brikk_shared.redact import redacted

_SECRET = "whsec_" + "canary" * 6


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def _request(secret: str = _SECRET) -> webhook_service_pb2.CreateWebhookRequest:
    webhook = webhook_pb2.Webhook(url="http://x/", secret=secret)
    return webhook_service_pb2.CreateWebhookRequest(webhook=webhook)


def test_secrets_are_cleared_from_a_copy() -> None:
    request = _request()
    copy = redacted(request)
    assert copy == _request(secret="")
    assert request.webhook.secret == _SECRET


def test_secrets_are_cleared_wherever_they_are() -> None:
    page = webhook_service_pb2.ListWebhooksResponse(
        webhooks=[webhook_pb2.Webhook(name="webhooks/a", secret=_SECRET)] * 2
    )
    assert _SECRET not in str(redacted(page))
    assert str(redacted(page)).count("webhooks/a") == 2


@pytest.mark.parametrize("message", [event_pb2.Event(id="x"), webhook_pb2.Attempt(number=1)])
def test_what_holds_no_secrets_is_not_copied(message: Message) -> None:
    assert redacted(message) is message


def test_a_line_names_its_call_and_hides_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logs(level="info", form="json")
    identity = Identity(subject="users/a", organization="acme", scopes=frozenset())
    enter_call(Call(method="/a/B", identity=identity, request_id="r-1"))
    try:
        structlog.stdlib.get_logger("brikk.test").info("created", request=_request())
        logging.getLogger("library").warning("careful: %s", 7)
        assert organization() == "acme"
    finally:
        enter_call(None)
    logging.getLogger("aiosqlite").info("chatter")
    lines = _lines(capsys)
    assert [line["event"] for line in lines] == ["created", "careful: 7"]
    assert lines[0]["request_id"] == "r-1"
    assert lines[0]["logger"] == "brikk.test"
    assert lines[0]["level"] == "info"
    assert 'url: "http://x/"' in lines[0]["request"]
    assert _SECRET not in lines[0]["request"]
    assert lines[1]["request_id"] == "r-1"
    with pytest.raises(LookupError):
        current_call()


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_traceback_shows_no_variables(form: Any, capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logs(level="info", form=form)

    def fail(secret: str) -> None:
        assert secret
        raise RuntimeError("broken")

    try:
        fail(_SECRET)
    except RuntimeError:
        structlog.stdlib.get_logger("brikk.test").exception("died")
    text = capsys.readouterr().err
    assert "RuntimeError: broken" in text
    assert "Traceback" in text
    assert _SECRET not in text


def test_the_level_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logs(level="warning", form="console")
    structlog.stdlib.get_logger("brikk.test").info("quiet")
    structlog.stdlib.get_logger("brikk.test").warning("loud", n=1)
    text = capsys.readouterr().err
    assert "quiet" not in text
    assert "loud" in text


def _lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]

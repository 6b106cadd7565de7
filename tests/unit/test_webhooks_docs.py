"""What docs/webhooks.md says of the command line is true, and its receiver works as it says."""

from __future__ import annotations

import http.client
import re
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import standardwebhooks
import typer
from typer.main import get_command

from brikk_cli.commands.webhook import app
from brikk_webhooks.domain.signing import Scheme

DOCS = (Path(__file__).resolve().parents[2] / "docs" / "webhooks.md").read_text()
[RECEIVER] = re.findall(r"```python\n(.*?)```", DOCS, re.S)
OF_OTHERS = {"--home", "--json", "--limit"}
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def test_every_command_and_option_is_described_and_there_are_no_others() -> None:
    group = get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    assert set(re.findall(r"brikk webhook ([a-z]+)", DOCS)) == group.commands.keys()
    options = {
        option
        for command in group.commands.values()
        for parameter in command.params
        for option in (*parameter.opts, *parameter.secondary_opts)
        if option.startswith("--")
    }
    shown = set(re.findall(r"(?<=[`\s])--[a-z][a-z-]*", DOCS))
    assert shown | OF_OTHERS == options


def test_every_scheme_is_described_and_there_are_no_others() -> None:
    table = DOCS.partition("| `--scheme` |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `([a-z0-9]+)`", table, re.MULTILINE) == list(Scheme)


@pytest.fixture
def port() -> Iterator[int]:
    imported = "from os import environ\n"
    assert imported in RECEIVER
    names: dict[str, Any] = {"__name__": "receiver", "environ": {"WEBHOOK_KEYS": SECRET}}
    exec(RECEIVER.replace(imported, ""), names)
    server = names["serve"](0)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


def test_its_receiver_takes_what_is_signed_and_refuses_the_rest(
    port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    body = '{"type": "brikk.execution.succeeded.v1", "subject": "executions/x1"}'
    now = datetime.now(UTC)
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": standardwebhooks.Webhook(SECRET).sign("msg_1", now, body),
    }
    answers = []
    for sent in (body, body + " "):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("POST", "/", sent, headers)
        answers.append(connection.getresponse().status)
        connection.close()
    assert answers == [204, 400]
    assert capsys.readouterr().out == "msg_1 brikk.execution.succeeded.v1 executions/x1\n"

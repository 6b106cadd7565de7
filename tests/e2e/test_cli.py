"""Each command against a suite that runs, as a person or a script uses it."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.command import Up, brikk, environment_of, up

GREETER = """
from brikk_agent import Agent, NotRetryable

agent = Agent("greeter")


@agent.capability("text.greet")
def greet(name: str) -> dict[str, str]:
    if not name:
        raise NotRetryable("NOBODY", "there is nobody to greet")
    return {"greeting": f"Hello, {name}!"}


agent.run()
"""

GREETING = """
name: greeting
description: Greets somebody twice.
input_schema: {type: object, required: [name], properties: {name: {type: string}}}
steps:
  - id: first
    call: {capability: text.greet, input: {name: "${input.name}"}}
  - id: second
    call: {capability: text.greet, input: {name: "${steps.first.output.greeting}"}}
output: "${steps.second.output.greeting}"
"""

LONELY = """
name: lonely
steps:
  - id: wait
    call: {capability: nobody.does}
"""

UNDONE = """
name: undone
steps:
  - id: note
    set: {values: {n: 1}}
    compensate: {call: {capability: text.greet, input: {name: Ada}}}
  - id: which
    switch:
      cases: [{when: state.n > 0.0, steps: [{id: wait, call: {capability: nobody.does}}]}]
    catch: [{errors: [ABORTED], steps: [{id: again, fail: {reason: TWICE}}]}]
"""


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    folder = tmp_path_factory.mktemp("cli")
    with up(folder / "home") as running:
        (folder / "greeter.py").write_text(GREETER)
        with (folder / "greeter.log").open("wb") as log:
            agent = subprocess.Popen(
                [sys.executable, folder / "greeter.py"],
                env=environment_of(running.home, None),
                stdout=log,
                stderr=log,
            )
        for definition in (GREETING, LONELY):
            applied = brikk("workflow", "apply", "-", home=running.home, stdin=definition)
            assert applied.code == 0, applied.err
        yield running
        agent.send_signal(signal.SIGTERM)
        agent.wait(60)


@pytest.fixture(scope="module")
def home(suite: Up) -> Path:
    return suite.home


@pytest.fixture(scope="module")
def greeted(home: Path) -> str:
    """An execution that has succeeded; it waited for the agent to register."""
    options = ("--input-json", '{"name": "Ada"}', "--wait", "--json")
    ran = brikk("execution", "start", "greeting", *options, home=home)
    assert ran.code == 0, ran.err
    name: str = ran.json["name"]
    return name


def test_a_valid_definition_is_shown_as_it_is_understood(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "greeting.yaml"
    file.write_text(GREETING)
    checked = brikk("workflow", "validate", str(file), home=home)
    assert (checked.code, checked.out) == (0, f"{file}: ok: greeting, 2 steps\n")
    checked = brikk("workflow", "validate", str(file), "--json", home=home)
    assert checked.json["problems"] == []
    assert checked.json["definition"]["workflow_id"] == "greeting"


@pytest.mark.parametrize("command", ["validate", "apply"])
def test_problems_have_line_and_column(home: Path, tmp_path: Path, command: str) -> None:
    file = tmp_path / "broken.yaml"
    file.write_text(GREETING.replace("capability: text.greet", "capability: Text Greet", 1))
    refused = brikk("workflow", command, str(file), "--json", home=home)
    assert refused.code == 1
    [problem] = refused.json["problems"]
    assert (problem["line"], problem["column"]) == (7, 24)
    assert problem["path"] == "steps[0].call.capability"
    assert refused.err == f"{file}:7:24: {problem['path']}: {problem['message']}\n"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"name: [", "-:2:1: the text is no YAML"),
        (b'name: "\\ud800"\nsteps: []', "-:1:10: the text is no YAML"),
        (b"", "-:1:1: "),
        (b"name: x\nsteps: \x00", "(INVALID_FIELD): source.yaml: contains a NUL character"),
    ],
)
def test_malformed_yaml_is_refused_where_it_is_malformed(
    home: Path, content: bytes, complaint: str
) -> None:
    refused = brikk("workflow", "validate", "-", home=home, stdin=content)
    assert refused.code == 1
    assert complaint in refused.err
    assert "Traceback" not in refused.err


def test_applying_creates_then_changes_nothing_then_updates(home: Path) -> None:
    definition = GREETING.replace("name: greeting", "name: changing")
    changed = definition.replace("twice", "two times")
    outcomes = [
        brikk("workflow", "apply", "-", home=home, stdin=each).out
        for each in (definition, definition, changed)
    ]
    assert outcomes == [
        "workflows/changing: created, version 1\n",
        "workflows/changing: unchanged, version 1\n",
        "workflows/changing: updated, version 2\n",
    ]


def test_workflows_are_listed_and_shown(home: Path) -> None:
    listed = brikk("workflow", "list", "--json", home=home).json["workflows"]
    assert {"workflows/greeting", "workflows/lonely"} <= {each["name"] for each in listed}
    assert len(brikk("workflow", "list", "--limit=1", "--json", home=home).json["workflows"]) == 1
    shown = brikk("workflow", "show", "greeting", home=home)
    assert shown.code == 0
    assert "Greets somebody twice." in shown.out
    [second] = [line for line in shown.out.splitlines() if line.startswith("second")]
    assert second.split() == ["second", "call", "text.greet", "first"]
    assert brikk("workflow", "show", "workflows/greeting", "--json", home=home).json["etag"]


def test_a_definition_is_tried_out(home: Path, tmp_path: Path) -> None:
    canned = tmp_path / "canned.yaml"
    canned.write_text("answers: {first: {greeting: Hi}, second: {greeting: Hi hi}}")
    options = ("-", "--outputs", str(canned), "--input-json", '{"name": "Ada"}')
    tried = brikk("workflow", "test", *options, home=home, stdin=GREETING)
    assert tried.code == 0, tried.err
    assert [line.strip("├└─ ") for line in tried.out.splitlines()] == [
        "succeeded",
        'first succeeded: {"greeting": "Hi"}',
        'second succeeded: {"greeting": "Hi hi"}',
        'output: "Hi hi"',
    ]
    failed = brikk("workflow", "test", *options[:1], *options[3:], home=home, stdin=GREETING)
    assert failed.code == 1
    assert "There is no answer for first or text.greet" in failed.out


def test_a_workflow_is_drawn(home: Path, greeted: str) -> None:
    drawn = brikk("workflow", "graph", "greeting", home=home)
    assert drawn.out.startswith('flowchart TD\n    step_first["first<br/>call text.greet"]\n')
    drawn = brikk("workflow", "graph", "greeting", "--execution", greeted, home=home)
    assert "class step_first,step_second succeeded" in drawn.out
    drawn = brikk("workflow", "graph", "greeting", "--format", "dot", home=home)
    assert drawn.out.startswith('digraph "greeting" {\n')


def test_the_schema_for_editors_is_printed(home: Path) -> None:
    schema = brikk("workflow", "schema", home=home).json
    assert "steps" in schema["properties"]


def test_an_execution_is_followed_to_its_end(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "input.json"
    file.write_text('{"name": "Grace"}')
    ran = brikk("execution", "start", "greeting", f"--input={file}", "--wait", home=home)
    assert ran.code == 0, ran.err
    assert 'output: "Hello, Hello, Grace!!"' in ran.out
    [second] = [line for line in ran.out.splitlines() if line.startswith("second ")]
    assert second.split()[1:3] == ["succeeded", "text.greet"]
    assert second.split()[3].startswith("agents/greeter-")
    assert len(ran.err.splitlines()) > 4  # what happened, fact by fact, as there is no terminal


def test_a_failed_execution_exits_with_one_and_says_why(home: Path) -> None:
    ran = brikk(
        "execution", "start", "greeting", "--input=-", "--wait", home=home, stdin='{"name": ""}'
    )
    assert ran.code == 1
    assert "there is nobody to greet" in ran.out


def test_the_same_request_id_starts_once(home: Path) -> None:
    start = ("execution", "start", "lonely", "--request-id=once", "--label=team=ops", "--json")
    first, second = brikk(*start, home=home), brikk(*start, home=home)
    assert first.json["name"] == second.json["name"]
    assert first.json["labels"] == {"team": "ops"}


def test_a_label_without_a_value_is_refused(home: Path) -> None:
    refused = brikk("execution", "start", "lonely", "--label=team", home=home)
    assert (refused.code, "--label team: write KEY=VALUE" in refused.err) == (2, True)


def test_an_execution_is_shown_and_watched_after_its_end(home: Path, greeted: str) -> None:
    shown = brikk("execution", "show", greeted.removeprefix("executions/"), "--json", home=home)
    assert shown.json["state"] == "STATE_SUCCEEDED"
    assert shown.json["input"] == {"name": "Ada"}
    assert shown.json["output"] == "Hello, Hello, Ada!!"
    assert [step["attempts"] for step in shown.json["steps"]] == [1, 1]
    watched = brikk("execution", "watch", greeted, "--json", home=home)
    assert (watched.code, watched.json) == (0, shown.json)


def test_history_is_complete_and_in_order(home: Path, greeted: str) -> None:
    entries = brikk("execution", "show", greeted, "--history", "--json", home=home).json["entries"]
    assert [int(each["sequence"]) for each in entries] == list(range(1, len(entries) + 1))
    table = brikk("execution", "show", greeted, "--history", home=home).out
    assert len(table.splitlines()) == len(entries) + 1


def test_a_history_is_exported_and_verified(home: Path, greeted: str, tmp_path: Path) -> None:
    exported = brikk("execution", "export", greeted, home=home)
    assert exported.code == 0
    file = tmp_path / "run.jsonl"
    file.write_text(exported.out)
    head = brikk("execution", "show", greeted, "--json", home=home).json["history_hash"]
    told = brikk("execution", "verify", str(file), f"--head={head}", home=home)
    assert told.code == 0, told.err
    verified = brikk("execution", "verify", greeted, "--json", home=home).json["executions"]
    assert [(f"executions/{each['execution']}", each["head"]) for each in verified] == [
        (greeted, head)
    ]
    assert brikk("execution", "verify", "bmissing", home=home).code == 3


def test_executions_are_listed_by_state_and_workflow(home: Path, greeted: str) -> None:
    options = ("--workflow=greeting", "--state=succeeded", "--limit=500", "--json")
    listed = brikk("execution", "list", *options, home=home).json["executions"]
    assert greeted in {each["name"] for each in listed}
    assert {each["state"] for each in listed} == {"STATE_SUCCEEDED"}
    assert greeted in brikk("execution", "list", "--limit=500", home=home).out


def test_an_execution_is_cancelled(home: Path) -> None:
    started = brikk("execution", "start", "lonely", "--json", home=home).json["name"]
    cancelled = brikk("execution", "cancel", started, "--reason=enough", "--json", home=home)
    assert cancelled.code == 0
    ended = brikk("execution", "watch", started, "--json", home=home)
    assert (ended.code, ended.json["state"]) == (1, "STATE_CANCELLED")


def test_what_is_cancelled_can_be_undone_first_and_goes_on_when_its_workflow_is_deleted(
    home: Path,
) -> None:
    assert brikk("workflow", "apply", "-", home=home, stdin=UNDONE).code == 0
    shown = brikk("workflow", "show", "undone", home=home).out.splitlines()
    assert [line.split()[:3] for line in shown[2:] if line.strip()] == [
        ["note", "set"],
        ["compensate", "call", "text.greet"],
        ["which", "switch", "note"],
        ["case", "state.n", ">"],
        ["wait", "call", "nobody.does"],
        ["catch", "ABORTED"],
        ["again", "fail"],
    ]
    started = brikk("execution", "start", "undone", "--json", home=home).json["name"]
    assert brikk("workflow", "delete", "undone", home=home).out == "workflows/undone: deleted\n"
    assert brikk("workflow", "delete", "undone", home=home).code == 3
    assert brikk("execution", "cancel", started, "--compensate", home=home).code == 0
    ended = brikk("execution", "watch", started, "--json", home=home)
    assert (ended.code, ended.json["state"]) == (1, "STATE_CANCELLED")
    steps = {each["path"]: each["state"] for each in ended.json["steps"]}
    assert steps["note/compensate"] == "STATE_SUCCEEDED"


def test_an_execution_is_paused_resumed_terminated_and_retried(home: Path) -> None:
    start = ("execution", "start", "lonely", "--priority=7", "--json")
    started = brikk(*start, home=home).json["name"]
    paused = brikk("execution", "pause", started, "--reason=lunch", home=home)
    assert paused.code == 0
    assert ", pause requested" in paused.out
    resumed = brikk("execution", "resume", started, "--json", home=home)
    assert resumed.json["name"] == started
    brikk("execution", "terminate", started, "--reason=enough", home=home)
    ended = brikk("execution", "watch", started, "--json", home=home)
    assert (ended.code, ended.json["state"]) == (1, "STATE_TERMINATED")
    entries = brikk("execution", "show", started, "--history", "--json", home=home).json["entries"]
    assert {"execution.paused", "execution.resumed"} < {each["type"] for each in entries}

    retried = brikk("execution", "retry", started, "--json", home=home).json
    assert (retried["retry_of"], retried["priority"]) == (started, 7)
    shown = brikk("execution", "show", retried["name"], home=home).out
    assert f"retry of {started}" in shown
    refused = brikk("execution", "retry", retried["name"], home=home)
    assert refused.code == 1
    assert "WRONG_STATE" in refused.err
    brikk("execution", "cancel", retried["name"], home=home)


def test_many_executions_are_started_found_and_ended_at_once(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "many.jsonl"
    file.write_text('{"labels": {"team": "a"}}\n\n{"labels": {"team": "b"}, "priority": 7}\n')
    options = ("--workflow=lonely", "--json")
    results = brikk("execution", "start-batch", str(file), *options, home=home).json["results"]
    names = [each["execution"]["name"] for each in results]
    found = ("--label=team in (a,b)", "--state=running", "--state=paused")
    listed = brikk("execution", "list", *found, "--json", home=home).json["executions"]
    assert {each["name"] for each in listed} == set(names)
    late = brikk("execution", "list", *found, "--since=2100-01-01", "--json", home=home).json
    assert late["executions"] == []

    terminate = ("execution", "batch", "terminate", *found)
    dry = brikk(*terminate, "--dry-run", home=home)
    assert (dry.code, dry.out) == (0, "terminate: 2 match\n")
    done = brikk(*terminate, "--reason=enough", "--wait", "--json", home=home)
    assert (done.code, done.json["state"], done.json["done"]) == (0, "STATE_SUCCEEDED", "2")
    ended = brikk("execution", "watch", names[0], "--json", home=home).json
    assert ended["state"] == "STATE_TERMINATED"
    assert done.json["name"] in brikk("execution", "batch", "list", home=home).out
    shown = brikk("execution", "batch", "show", done.json["name"], "--json", home=home).json
    assert shown["reason"] == "enough"

    file.write_text('{"workflow": "lonely"}\n{"inputs": {}}\n')
    odd = brikk("execution", "start-batch", str(file), home=home)
    assert (odd.code, f"{file}:2: " in odd.err) == (2, True)
    file.write_text('{"workflow": "nowhere"}\n')
    refused = brikk("execution", "start-batch", str(file), home=home)
    assert (refused.code, "RESOURCE_NOT_FOUND" in refused.out) == (1, True)


def test_a_step_nobody_does_is_skipped(home: Path) -> None:
    started = brikk("execution", "start", "lonely", "--json", home=home).json["name"]
    output = ("--output-json", '{"by": "hand"}', "--reason=nobody does it")
    skipped = brikk("execution", "skip", started, "wait", *output, home=home)
    assert (skipped.code, "skip requested" in skipped.out) == (0, True)
    ended = brikk("execution", "watch", started, "--json", home=home)
    assert (ended.code, ended.json["steps"][0]["output"]) == (0, {"by": "hand"})


def test_agents_are_listed_by_capability(home: Path, greeted: str) -> None:
    assert greeted
    [agent] = brikk("agent", "list", "--capability=text.greet", "--json", home=home).json["agents"]
    assert agent["display_name"] == "greeter"
    assert brikk("agent", "list", "--capability=no.such", "--json", home=home).json["agents"] == []
    assert "text.greet" in brikk("agent", "list", home=home).out


def test_a_webhook_shows_its_secret_once(home: Path) -> None:
    # Nobody listens there, and nothing here is told of alerts.
    url, events = "http://127.0.0.1:9/", "--event=brikk.alert.*"
    created = brikk("webhook", "create", url, events, "--id=hook", "--json", home=home)
    assert created.json["secret"].startswith("whsec_")
    listed = brikk("webhook", "list", "--json", home=home)
    [secret] = [
        each["secret"] for each in listed.json["webhooks"] if each["name"] == "webhooks/hook"
    ]
    assert secret == ""
    assert created.json["secret"] not in listed.out
    assert url in brikk("webhook", "list", home=home).out
    assert brikk("webhook", "deliveries", "hook", "--json", home=home).json == {"deliveries": []}
    options = ("--state=pending", "--limit=5")
    assert brikk("webhook", "deliveries", "webhooks/hook", *options, home=home).code == 0


def test_the_keys_of_a_webhook_are_shown_and_replaced(home: Path) -> None:
    options = ("--event=*", "--scheme=v1", "--scheme=v1a", "--id=signed", "--json")
    created = brikk("webhook", "create", "http://127.0.0.1:9/", *options, home=home).json
    rotated = brikk("webhook", "rotate", "signed", "--overlap=2h", "--json", home=home).json
    assert rotated["secret"].startswith("whsec_")
    assert rotated["secret"] != created["secret"]
    shown = brikk("webhook", "show", "webhooks/signed", home=home).out
    assert rotated["secret"] not in shown
    for key in (created["signing_keys"][0], rotated["signing_keys"][0]):
        assert key["public_key"].startswith("whpk_")
        assert key["public_key"] in shown


def test_a_token_says_who_for_whom_and_what(home: Path) -> None:
    own = brikk("token", "--scopes=workflow.read", home=home).out.strip()
    foreign = brikk("token", "--organization=other", "--json", home=home).json["token"]
    seen = brikk("workflow", "list", "--json", home=home, environment={"BRIKK_TOKEN": own})
    assert seen.json["workflows"]
    seen = brikk("workflow", "list", "--json", home=home, environment={"BRIKK_TOKEN": foreign})
    assert seen.json["workflows"] == []
    refused = brikk("execution", "start", "greeting", home=home, environment={"BRIKK_TOKEN": own})
    assert refused.code == 4
    assert "SCOPE_MISSING" in refused.err
    refused = brikk("workflow", "list", "--json", home=home, environment={"BRIKK_TOKEN": "junk"})
    assert refused.code == 4
    assert refused.json["error"]["reason"] == "TOKEN_INVALID"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("workflow", "show", "no-such"), 3, "RESOURCE_NOT_FOUND"),
        (("execution", "watch", "no-such"), 3, "RESOURCE_NOT_FOUND"),
        (("execution", "cancel", "no-such"), 3, "RESOURCE_NOT_FOUND"),
        (("execution", "pause", "no-such"), 3, "RESOURCE_NOT_FOUND"),
        (("execution", "resume", "no-such"), 3, "RESOURCE_NOT_FOUND"),
        (("execution", "terminate", "no-such"), 3, "RESOURCE_NOT_FOUND"),
        (("execution", "retry", "no-such"), 3, "RESOURCE_NOT_FOUND"),
        (("execution", "start", "no-such"), 3, "RESOURCE_NOT_FOUND"),
        (("webhook", "deliveries", "no-such"), 3, "RESOURCE_NOT_FOUND"),
        (("webhook", "show", "no-such"), 3, "RESOURCE_NOT_FOUND"),
        (("webhook", "rotate", "no-such"), 3, "RESOURCE_NOT_FOUND"),
        (("workflow", "show", "No Such"), 1, "INVALID_FIELD"),
        (("execution", "start", "greeting"), 1, "INVALID_INPUT"),
        (("webhook", "create", "ftp://x", "--event=*"), 1, "webhook.url"),
        (("webhook", "create", "http://x", "--event=No!"), 1, "webhook.event_types[0]"),
        (("webhook", "create", "http://x"), 2, "--event"),
        (("webhook", "rotate", "x", "--overlap=soon"), 2, "'soon' is no duration"),
        (("execution", "start", "greeting", "--input-json={"), 2, "--input-json:1:2: not JSON"),
        (("execution", "start", "greeting", "--input=/no/such"), 2, "/no/such: No such file"),
        (("workflow", "validate", "/no/such"), 2, "/no/such: No such file"),
        (("execution", "list", "--state=asleep"), 2, "asleep"),
        (("execution", "start", "greeting", "--priority=10"), 2, "--priority"),
        (("workflow", "list", "--limit=0"), 2, "--limit"),
        (("token", "--lifetime=soon"), 2, "soon"),
        (("no-such-command",), 2, "no-such-command"),
    ],
)
def test_what_is_wrong_is_said_in_a_line_with_an_exit_code(
    home: Path, arguments: tuple[str, ...], code: int, message: str
) -> None:
    refused = brikk(*arguments, home=home)
    assert (refused.code, refused.out) == (code, "")
    assert message in refused.err
    assert "Traceback" not in refused.err


def test_without_a_suite_one_is_told_what_to_do(tmp_path: Path) -> None:
    lost = brikk("agent", "list", home=tmp_path)
    assert lost.code == 5
    assert "Run `brikk up`" in lost.err
    assert brikk("token", home=tmp_path).code == 1


def test_the_version_is_printed() -> None:
    assert brikk("--version").out.startswith("brikk ")


def test_exit_codes_are_documented() -> None:
    assert "5 a service did not answer" in " ".join(brikk("--help").out.split())

"""`brikk agent` against a discovery service, as a person or a script uses it."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from brikk.discovery.v1 import agent_pb2
from brikk_shared.testing import Tokens
from support.command import BRIKK, TIMEOUT, Result, brikk, environment_of
from support.discovery import SCOPES, Caller, registration, serving


def offering(
    capability: str, *, version: str = "", zone: str = "", **labels: str
) -> agent_pb2.Agent:
    item = agent_pb2.AgentCapability(
        capability=capability, version=version, description="Condenses long documents."
    )
    return agent_pb2.Agent(
        display_name="Condenser",
        endpoint="127.0.0.1:9000",
        zone=zone,
        labels=labels,
        capacity=4,
        services=[agent_pb2.AgentService(service_id="summaries", capabilities=[item])],
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Shell:
    """Runs `brikk agent` for somebody of an organisation."""

    caller: Caller
    environment: Mapping[str, str]

    async def __call__(self, *arguments: str) -> Result:
        return await asyncio.to_thread(brikk, "agent", *arguments, environment=self.environment)

    @asynccontextmanager
    async def running(
        self, *arguments: str, stdout: int
    ) -> AsyncIterator[asyncio.subprocess.Process]:
        """A command that goes on until Ctrl-C, which ends it cleanly."""
        process = await asyncio.create_subprocess_exec(
            BRIKK,
            "agent",
            *arguments,
            stdout=stdout,
            stderr=asyncio.subprocess.PIPE,
            env=environment_of(None, {**self.environment, "TERM": "xterm", "COLUMNS": "150"}),
        )
        try:
            async with asyncio.timeout(TIMEOUT):
                yield process
                process.send_signal(signal.SIGINT)
                assert process.stderr is not None
                complaints = await process.stderr.read()
                assert (await process.wait(), complaints) == (130, b"")
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


@pytest.fixture
async def shell(tmp_path: Path) -> AsyncIterator[Shell]:
    tokens = Tokens(tmp_path)
    async with serving(f"sqlite:///{tmp_path}/discovery.db", tokens) as service:
        environment = {
            "BRIKK_HOME": str(tmp_path / "nowhere"),
            "BRIKK_DISCOVERY_ADDRESS": service.address,
            "BRIKK_TOKEN": tokens.user("acme", *SCOPES),
        }
        yield Shell(caller=service.caller("acme"), environment=environment)


async def test_an_agent_is_shown_and_its_capabilities_are_listed(shell: Shell) -> None:
    await shell.caller.send(registration("one", offering("text.summarize", version="1.2")))
    await shell.caller.send(registration("two", offering("image.resize")))
    shown = await shell("show", "one")
    assert shown.code == 0, shown.err
    assert shown.out.startswith("agents/one: ready\n")
    assert "summaries  text.summarize  1.2" in shown.out
    assert (await shell("show", "agents/one", "--json")).json["display_name"] == "Condenser"
    listed = await shell("capabilities", "--json")
    assert [each["capability"] for each in listed.json["capabilities"]] == [
        "image.resize",
        "text.summarize",
    ]
    lines = (await shell("capabilities", "--prefix=text")).out.splitlines()
    assert lines[1].split(maxsplit=4) == [
        "text.summarize",
        "1",
        "1",
        "1.2",
        "Condenses long documents.",
    ]
    assert len(lines) == 2


async def test_candidates_are_filtered_and_come_with_reasons(shell: Shell) -> None:
    gold = offering("text.summarize", version="1.2", zone="eu-1", tier="gold")
    await shell.caller.send(registration("gold", gold))
    plain = offering("text.summarize", version="2.0", zone="us-1", tier="plain")
    await shell.caller.send(registration("plain", plain))

    async def resolved(*options: str) -> list[str]:
        answer = await shell("resolve", *options, "--json")
        assert answer.code == 0, answer.err
        return sorted(each["agent"] for each in answer.json["candidates"])

    assert await resolved("text.*") == ["agents/gold", "agents/plain"]
    for only_gold in (
        "--version-range=>=1.2,<2",
        "--selector=tier in (gold,silver)",
        "--zone=eu-1",
        "--exclude=plain",
    ):
        assert await resolved("text.summarize", only_gold) == ["agents/gold"], only_gold
    assert await resolved("text.summarize", "--protocol=a2a_grpc") == []
    assert len(await resolved("text.summarize", "--limit=1")) == 1
    table = (await shell("resolve", "text.summarize", "--exclude=agents/plain")).out
    assert "4 of 4 slots free" in table.splitlines()[1]
    nobody = await shell("resolve", "text.sing")
    assert (nobody.code, nobody.out) == (
        0,
        "nobody may be given text.sing now, as it was asked for\n",
    )


async def test_services_are_found_in_ones_own_words(shell: Shell) -> None:
    await shell.caller.send(registration("one", offering("text.summarize")))
    found = await shell("search", "a", "summary", "of", "my", "documents", "--json")
    [result] = found.json["results"]
    assert result["service"]["name"] == "agents/one/services/summaries"
    lines = (await shell("search", "a summary of my documents")).out.splitlines()
    assert lines[1].split()[0] == "agents/one/services/summaries"
    nothing = await shell("search", "violin")
    assert (nothing.code, nothing.out) == (
        0,
        "no live agent says anything of the kind; try other words\n",
    )


async def test_an_operator_drains_maintains_and_resumes(shell: Shell) -> None:
    await shell.caller.send(registration("one", offering("text.summarize")))
    for command, state in (("drain", "draining"), ("maintain", "maintenance")):
        done = await shell(command, "one", "--reason", "new model")
        assert done.code == 0, done.err
        assert done.out.startswith(f"agents/one: {state} (")
        assert "new model" in done.out
        assert await shell.caller.resolve("text.summarize") == []
    resumed = await shell("resume", "agents/one", "--json")
    assert resumed.json["state"] == "STATE_READY"
    assert await shell.caller.resolve("text.summarize") == ["one"]


async def test_a_list_is_shown_again_when_it_changes(shell: Shell) -> None:
    await shell.caller.send(registration("one", offering("text.summarize")))
    options = ("list", "--watch", "--json")
    async with shell.running(*options, stdout=asyncio.subprocess.PIPE) as process:
        assert process.stdout is not None
        first = json.loads(await process.stdout.readline())
        assert [each["name"] for each in first["agents"]] == ["agents/one"]
        await shell("drain", "one")
        second = json.loads(await process.stdout.readline())
        assert [each["state"] for each in second["agents"]] == ["STATE_DRAINING"]


async def test_a_watch_prints_what_changes_as_lines_of_json(shell: Shell) -> None:
    await shell.caller.send(registration("one", offering("text.summarize")))
    async with shell.running(
        "watch", "text.*", "--json", stdout=asyncio.subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        first = json.loads(await process.stdout.readline())
        assert [each["agent"] for each in first["snapshot"]["candidates"]] == ["agents/one"]
        await shell.caller.send(registration("two", offering("text.write")))
        while "changes" not in (news := json.loads(await process.stdout.readline())):
            pass
        assert [each["agent"] for each in news["changes"]["upserted"]] == ["agents/two"]


async def test_a_watch_prints_a_line_for_each_change_where_there_is_no_terminal(
    shell: Shell,
) -> None:
    lease = await shell.caller.send(registration("one", offering("text.summarize")))
    async with shell.running("watch", "text.summarize", stdout=asyncio.subprocess.PIPE) as process:
        assert process.stdout is not None
        assert b" = agents/one text.summarize ready " in await process.stdout.readline()
        await shell.caller.deregister("one", lease.epoch)
        assert (await process.stdout.readline()).endswith(b" - agents/one text.summarize\n")


async def test_a_watch_draws_a_live_table_in_a_terminal(shell: Shell) -> None:
    await shell.caller.send(registration("one", offering("text.summarize")))
    ours, theirs = pty.openpty()
    try:
        async with shell.running("watch", "text.*", stdout=theirs):
            seen = ""
            while "agents/one" not in seen:
                seen += (await asyncio.to_thread(os.read, ours, 65_536)).decode()
            await shell.caller.send(registration("two", offering("text.write")))
            while "agents/two" not in seen:
                seen += (await asyncio.to_thread(os.read, ours, 65_536)).decode()
            assert seen.count("agents/one") >= 2  # the whole table, drawn anew
    finally:
        os.close(ours)
        os.close(theirs)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("show", "nobody"), 3, "nobody"),
        (("drain", "nobody"), 3, "nobody"),
        (("show", "No!"), 1, "name"),
        (("resolve", "Text"), 1, "capability"),
        (("resolve", "a.b", "--selector=x in"), 1, "selector"),
        (("resolve", "a.b", "--version-range=newest"), 1, "version_range"),
        (("resolve", "a.b", "--protocol=smtp"), 2, "smtp"),
        (("resolve", "a.b", "--limit=101"), 2, "--limit"),
        (("watch",), 2, "capabilities"),
        (("watch", "No!"), 1, "capabilities[0]"),
        (("search",), 2, "question"),
        (("search", "x" * 1001), 1, "query"),
    ],
)
async def test_what_is_wrong_is_said_in_a_line_with_an_exit_code(
    shell: Shell, arguments: tuple[str, ...], code: int, message: str
) -> None:
    refused = await shell(*arguments)
    assert (refused.code, refused.out) == (code, "")
    assert message in refused.err
    assert "Traceback" not in refused.err


async def test_who_may_not_administer_is_told_so(shell: Shell) -> None:
    await shell.caller.send(registration("one", offering("text.summarize")))
    reader = {**shell.environment, "BRIKK_TOKEN": shell.environment["BRIKK_TOKEN"] + "x"}
    refused = await Shell(caller=shell.caller, environment=reader)("drain", "one", "--json")
    assert refused.code == 4
    assert refused.json["error"]["code"] == "UNAUTHENTICATED"

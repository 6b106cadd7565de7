"""Histories as they are exported, and ended executions as they are read again and again."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from sqlalchemy import text

from brikk.workflow.v1 import execution_service_pb2 as pb
from brikk.workflow.v1.execution_pb2 import WorkflowExecution
from brikk_shared.chain import BrokenChain, verify
from brikk_shared.errors import Reason
from brikk_shared.structs import from_struct
from brikk_workflow.store.history import export
from support.gates import Gate
from support.past import past
from support.refusals import refused
from support.workflows import State, WorkflowClient, World, echo

CHAIN = """
name: chain
steps:
  - id: first
    call: {capability: text.one, input: {n: "${input.n}"}}
  - id: second
    call: {capability: text.two, input: {n: "${steps.first.output.n}"}}
output: "${steps.second.output.n}"
"""


async def exported(client: WorkflowClient, name: str) -> bytes:
    request = pb.ExportHistoryRequest(name=name)
    parts = client.executions.ExportHistory(request, metadata=client.metadata, timeout=20)
    return b"".join([part.data async for part in parts])


def lines(file: bytes) -> Sequence[dict[str, Any]]:
    return [json.loads(line) for line in file.splitlines()]


async def get(client: WorkflowClient, name: str) -> WorkflowExecution:
    request = pb.GetExecutionRequest(name=name)
    return await client.executions.GetExecution(request, metadata=client.metadata, timeout=20)


async def found(client: WorkflowClient) -> list[str]:
    answer = await client.executions.ListExecutions(
        pb.ListExecutionsRequest(), metadata=client.metadata, timeout=20
    )
    return [each.name for each in answer.executions]


async def test_an_export_holds_the_execution_and_all_of_its_history(world: World) -> None:
    long = "é" * 100_000
    async with (
        world.agent(text__one=echo(text=long), text__two=echo()),
        world.service() as client,
    ):
        await client.create(CHAIN)
        ended = await client.run("chain", {"n": 1})
        file = await exported(client, ended.name)
        history = await client.history(ended.name)
    header, given, *rest = lines(file)
    assert f"executions/{header['execution']}" == ended.name
    assert (header["organization"], header["state"]) == ("acme", "succeeded")
    assert header["sequence"] == ended.sequence == len(history)
    assert given == {"kind": "input", "value": {"n": 1}}
    entries, outputs = rest[: len(history)], rest[len(history) :]
    for entry, fact in zip(entries, history, strict=True):
        assert (entry["sequence"], entry["type"]) == (fact.sequence, fact.type)
        assert (entry["step"], entry["time"]) == (fact.step_id, fact.time.ToMicroseconds())
        assert json.loads(entry["attributes"]) == from_struct(fact.attributes)
    assert outputs == [
        {"kind": "output", "step": "first", "value": {"n": 1, "text": long}},
        {"kind": "output", "step": "second", "value": {"n": 1}},
        {"kind": "output", "step": "", "value": 1},
    ]
    [verified] = verify(file.splitlines())
    assert (verified.entries, verified.unchained) == (len(history), 0)
    assert verified.head == ended.history_hash == header["hash"]


async def test_whoever_takes_an_execution_over_goes_on_with_its_chain(world: World) -> None:
    gate = Gate()
    async with world.agent(text__one=gate.work, text__two=echo()) as agent:
        async with world.service(drain_grace=timedelta(0)) as client:
            await client.create(CHAIN)
            name = await client.start("chain", {"n": 1})
            await agent.until(lambda agent: bool(agent.requests))
            before = await get(client, name)
        gate.open.set()
        async with world.service() as client:
            ended = await client.wait(name)
            [verified] = verify((await exported(client, name)).splitlines())
    assert verified.head == ended.history_hash != before.history_hash
    assert verified.unchained == 0


async def test_what_somebody_changes_in_the_store_shows(tmp_path: Path, database_url: str) -> None:
    async with past(database_url) as store:
        await store.ran("b1", end=datetime(2026, 1, 1, tzinfo=UTC))

        async def complaint(change: str) -> str:
            async with store.database.transaction() as connection:
                await connection.execute(text(change))
            with pytest.raises(BrokenChain) as caught:
                list(verify([each async for each in export(store.database, ["b1"])]))
            return str(caught.value)

        change = "UPDATE history SET time = time + 1 WHERE seq = 2"
        assert "entry 2 is not as it was written" in await complaint(change)
        assert "ends at entry 1 of 2" in await complaint("DELETE FROM history WHERE seq = 2")
        assert "entry 1 has another hash" in await complaint("UPDATE execution SET seq = 1")


async def test_what_runs_is_exported_as_it_stands(world: World) -> None:
    gate = Gate()
    async with (
        world.agent(text__one=gate.work, text__two=echo()) as agent,
        world.service() as client,
    ):
        await client.create(CHAIN)
        name = await client.start("chain", {"n": 1})
        await agent.until(lambda agent: bool(agent.requests))
        header, *rest = lines(await exported(client, name))
        assert (header["state"], header["end_time"]) == ("running", None)
        assert len([each for each in rest if each["kind"] == "entry"]) == header["sequence"]
        before = await get(client, name)
        gate.open.set()
        ended = await client.wait(name)
        # What was read before its end was not kept.
        assert (before.state, ended.state) == (State.STATE_RUNNING, State.STATE_SUCCEEDED)
        assert len(await client.history(name)) == ended.sequence > header["sequence"]


async def test_what_has_ended_is_read_once_and_by_its_organisation_only(
    tmp_path: Path, sqlite_url: str
) -> None:
    async with (
        World(tmp_path, sqlite_url).open() as world,
        world.agent(text__one=echo(), text__two=echo()),
        world.process() as service,
        WorkflowClient(service.client.address, world.tokens, "other") as other,
    ):
        client = service.client
        await client.create(CHAIN)
        ended = await client.run("chain", {"n": 1})
        reads = [await get(client, ended.name) for _ in range(3)]
        assert reads == [ended] * 3
        histories = [await client.history(ended.name) for _ in range(3)]
        assert histories[0] == histories[1] == histories[2]
        for ask in (get(other, ended.name), other.history(ended.name), exported(other, ended.name)):
            assert (await refused(ask)).reason is Reason.RESOURCE_NOT_FOUND
        url = f"http://{service.process.http_address}/metrics"
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            shown = await response.text()
    # The end was waited for, and read.
    assert 'brikk_workflow_finished_cache_requests_total{result="hit"} 5.0' in shown


async def test_what_ended_long_ago_leaves_for_the_archive_and_is_not_found(
    tmp_path: Path, database_url: str
) -> None:
    now, folder = datetime.now(UTC), tmp_path / "archive"
    async with past(database_url) as store:
        await store.ran("b1", end=now - timedelta(days=9))
        await store.ran("b2", end=now - timedelta(days=3))
    async with (
        World(tmp_path, database_url).open() as world,
        world.service(retention=timedelta(days=5), archive_dir=folder) as client,
    ):
        async with asyncio.timeout(30):
            while await found(client) != ["executions/b2"]:
                pass
        for read in (client.history, client.wait):
            assert (await refused(read("executions/b1"))).reason is Reason.RESOURCE_NOT_FOUND
        assert len(await client.history("executions/b2")) == 2
    [file] = folder.rglob("*.gz")
    assert lines(gzip.decompress(file.read_bytes()))[0]["execution"] == "b1"

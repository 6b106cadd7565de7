"""The demonstration keeps its promise, also when a process dies in the middle."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import grpc
import pytest

from brikk.workflow.v1.execution_pb2 import WorkflowExecution
from brikk.workflow.v1.execution_service_pb2 import ListExecutionsRequest
from brikk.workflow.v1.execution_service_pb2_grpc import ExecutionServiceStub
from brikk_shared.ids import new_id
from support import postgres
from support.chaos import let_leases_end
from support.command import BRIKK, TIMEOUT, brikk, environment_of


def check(summary: dict[str, Any]) -> None:
    started = summary["executions"]["started"]
    assert started >= 20
    assert summary["executions"] == {"started": started, "succeeded": started, "failed": 0}
    assert summary["steps"]["completed"] > started
    assert summary["steps"]["retried"] >= 1
    assert len(summary["agents"]) >= 3
    assert all(calls > 0 for calls in summary["agents"].values())
    assert summary["deliveries"] == {
        "delivered": 2 * started,
        "verified": 2 * started,
        "failed": 0,
    }
    assert summary["metrics"] == {"executions_recorded": started}
    assert summary["alerts"] == {"fired": 1, "notified": 1, "resolved": 1}
    assert summary["seconds"] > 0


def test_the_summary_is_one_json_object_and_all_of_it_is_right(tmp_path: Path) -> None:
    shown = brikk("demo", "--json", environment={"TMPDIR": str(tmp_path)})
    assert shown.code == 0, shown.err
    check(shown.json)
    assert list(tmp_path.iterdir()) == []


def test_people_see_steps_agents_deliveries_and_metrics(tmp_path: Path) -> None:
    # The proxy of an office, which knows nothing of this machine's loopback, is left out.
    proxy = {"http_proxy": "http://127.0.0.1:9"}
    shown = brikk("demo", "--keep", environment={"TMPDIR": str(tmp_path), **proxy})
    assert shown.code == 0, shown.err
    for promised in (
        "attempts",
        "agents/",
        "p95",
        "with a verified signature",
        "recorded",
        "1 fired",
    ):
        assert promised in shown.out
    [folder] = tmp_path.iterdir()
    assert f"kept {folder}" in shown.err


def executions(client: dict[str, str]) -> list[WorkflowExecution]:
    metadata = (("authorization", f"Bearer {client['token']}"),)
    request = ListExecutionsRequest(page_size=500)
    with grpc.insecure_channel(client["workflow"]) as channel:
        answer = ExecutionServiceStub(channel).ListExecutions(
            request, timeout=TIMEOUT, metadata=metadata
        )
    return list(answer.executions)


@pytest.fixture(params=["sqlite", "postgresql"])
def stores(request: pytest.FixtureRequest) -> Iterator[list[str]]:
    """Options of a demonstration with stores of this kind, all empty."""
    if request.param == "sqlite":
        yield []
        return
    server, prefix = postgres.server_url(), f"demo_{new_id()}"
    names = [
        f"{prefix}_{service}" for service in ("discovery", "workflow", "webhooks", "monitoring")
    ]
    asyncio.run(execute(server, [f"CREATE DATABASE {name}" for name in names]))
    template = urlsplit(server)._replace(path=f"/{prefix}_{{service}}")
    yield [f"--database-url={urlunsplit(template)}"]
    asyncio.run(execute(server, [f"DROP DATABASE {name} WITH (FORCE)" for name in names]))


async def execute(server: str, statements: list[str]) -> None:
    connection = await asyncpg.connect(server)
    for statement in statements:
        await connection.execute(statement)
    await connection.close()


def test_a_workflow_process_that_is_killed_in_the_middle_costs_nothing(
    tmp_path: Path, stores: list[str]
) -> None:
    with subprocess.Popen(
        [BRIKK, "demo", "--json", *stores],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment_of(None, {"TMPDIR": str(tmp_path)}),
        text=True,
    ) as demo:
        try:
            assert demo.stderr is not None
            assert any("executing" in line for line in demo.stderr)
            [home] = tmp_path.glob("brikk-demo-*/suite")
            client = json.loads((home / "client.json").read_text())
            workflow = json.loads((home / "processes.json").read_text())["workflow"]
            started: set[WorkflowExecution.State.ValueType] = set()
            while not started:
                started = {each.state for each in executions(client)}
            os.kill(workflow, signal.SIGKILL)
            for store in stores:
                # On one that many share, nobody knows before its lease ends that it is dead.
                url = store.removeprefix("--database-url=").format(service="workflow")
                asyncio.run(let_leases_end(url))
            assert WorkflowExecution.STATE_RUNNING in started
            out, err = demo.communicate(timeout=2 * TIMEOUT)
        finally:
            demo.terminate()
    assert demo.returncode == 0, err
    check(json.loads(out))

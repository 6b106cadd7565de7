"""`brikk metrics` against a monitoring service, as a person or a script uses it."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import shutil
import signal
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from brikk.monitoring.v1.metrics_pb2 import MetricPoint, RecordMetricsRequest
from brikk_cli.home import Home
from brikk_cli.keys import Keys
from brikk_shared.testing import Tokens, bearer
from support.command import BRIKK, TIMEOUT, Result, brikk, environment_of
from support.monitoring import execution, monitoring, numbered, step


@pytest.fixture
async def environment(redis_url: str, tmp_path: Path) -> AsyncIterator[Mapping[str, str]]:
    """A service that counted two executions and five steps, and who may ask it."""
    tokens = Tokens(tmp_path)
    async with monitoring(redis_url, tokens) as service:
        now = datetime.now(UTC)
        events = [execution("started", now), execution("succeeded", now, duration_ms=1500.0)]
        events += [execution("started", now), execution("failed", now, duration_ms=3000.0)]
        events += [step("succeeded", now, latency_ms=200.0) for _ in range(3)]
        events += [step("failed", now - timedelta(minutes=3), agent="agents/writer")]
        events += [step("failed", now - timedelta(minutes=90), agent="agents/writer")]
        await service.publish(*numbered(events))
        yield {
            "BRIKK_HOME": str(tmp_path / "nowhere"),
            "BRIKK_MONITORING_ADDRESS": service.service.address,
            "BRIKK_TOKEN": tokens.user("acme", "metrics.read"),
        }


async def test_measurements_are_shown(environment: Mapping[str, str]) -> None:
    async def run(*arguments: str) -> Result:
        ran = await asyncio.to_thread(brikk, "metrics", *arguments, environment=environment)
        assert (ran.code, ran.err) == (0, "")
        return ran

    summary, agents, workflow, query, rows = await asyncio.gather(
        run("summary", "--compare"),
        run("agents", "--compare", "--json"),
        run("workflows", "triage"),
        run("query", "calls", "--by=agent", "--show=count", "--show=p95", "--step=30m"),
        run("query", "calls", "--where=agent=agents/reader", "--csv"),
    )
    assert "2 started, 1 succeeded, 1 failed, 0 cancelled" in summary.out
    assert "50.0%" in summary.out
    assert summary.out.splitlines()[0].split() == [
        *("what", "became", "of", "them", "success", "p50", "p95", "p99", "before")
    ]
    assert [(each["agent"], each["calls"]) for each in agents.json["agents"]] == [
        ("agents/reader", "3"),
        ("agents/writer", "1"),
    ]
    assert agents.json["agents"][1]["previous"]["count"] == "1"
    lines = workflow.out.splitlines()
    assert lines[1].startswith("workflows/triage  2")
    assert lines[-1].split()[:4] == ["read", "3", "1", "0"]
    header, reader, writer = (line.split() for line in query.out.splitlines())
    assert header == ["agent", "count", "p95"]
    assert reader[:2] == ["reader", "3"]
    assert reader[-1][-1] == "█"
    assert writer[:2] == ["writer", "1"]
    assert list(csv.reader(io.StringIO(rows.out)))[1][1:] == ["3.0"]


async def test_reports_are_made_listed_and_printed_again(environment: Mapping[str, str]) -> None:
    made = await asyncio.to_thread(brikk, "metrics", "report", "agents", environment=environment)
    assert [(each["agent"], each["count"]) for each in csv.DictReader(io.StringIO(made.out))] == [
        ("reader", "3"),
        ("writer", "2"),
    ]
    found = await asyncio.to_thread(brikk, "metrics", "report", environment=environment)
    [line] = found.out.splitlines()[1:]
    assert line.split()[1:5] == ["agents", "1", "day", "succeeded"]
    again = await asyncio.to_thread(
        brikk, "metrics", "report", line.split()[0], "--json", environment=environment
    )
    assert again.json["content"] == made.out


async def test_the_operator_of_a_home_folder_sees_how_the_services_are(
    redis_url: str, tmp_path: Path
) -> None:
    tokens, keys = Tokens(tmp_path), Keys(folder=Home(tmp_path / "home").keys)
    keys.folder.mkdir(parents=True)
    shutil.copy(tokens.users_key, keys.user)
    async with monitoring(redis_url, tokens) as service:
        await service.performance.RecordMetrics(
            RecordMetricsRequest(
                request_id="r1",
                points=[MetricPoint(metric="process.cpu_percent", service="workflow", value=3.0)],
            ),
            metadata=bearer(tokens.internal("metrics.write"), "system"),
            timeout=TIMEOUT,
        )
        environment = {
            "BRIKK_HOME": str(tmp_path / "home"),
            "BRIKK_MONITORING_ADDRESS": service.service.address,
        }
        seen = await asyncio.to_thread(brikk, "metrics", "health", environment=environment)
        assert seen.code == 0, seen.err
        lines = [each.split()[:4] for each in seen.out.splitlines()]
        assert ["workflow", "healthy", "3.0", "%"] in lines
        user = {**environment, "BRIKK_TOKEN": tokens.user("acme", "metrics.read")}
        refused = await asyncio.to_thread(brikk, "metrics", "health", environment=user)
        assert "system" in refused.err
        assert refused.code != 0


async def test_top_goes_on_until_it_is_interrupted(environment: Mapping[str, str]) -> None:
    process = await asyncio.create_subprocess_exec(
        *(BRIKK, "metrics", "top", "--json", "--interval=10ms"),
        stdout=asyncio.subprocess.PIPE,
        env=environment_of(None, environment),
    )
    try:
        async with asyncio.timeout(TIMEOUT):
            assert process.stdout is not None
            looks = [json.loads(await process.stdout.readline()) for _ in range(2)]
            process.send_signal(signal.SIGINT)
            await process.stdout.read()
            assert await process.wait() == 130
    finally:
        if process.returncode is None:
            os.kill(process.pid, signal.SIGKILL)
            await process.wait()
    for look in looks:
        assert look["summary"]["executions"]["started"] == "2"
        assert [each["agent"] for each in look["agents"]] == ["agents/reader", "agents/writer"]
        assert [each["workflow"] for each in look["workflows"]] == ["workflows/triage"]

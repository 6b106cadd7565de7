"""`brikk schedule` against a workflow service, as a person or a script uses it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from support.command import Result, brikk
from support.workflows import World

Shell: TypeAlias = Callable[..., Awaitable[Result]]
REPORT = """
name: daily-report
steps:
  - id: build
    call: {capability: report.build, input: {day: "${input.day}"}}
"""
NIGHTLY = ("--workflow=daily-report", "--cron=30 2 * * *", "--zone=Europe/Berlin")


@pytest.fixture
async def shell(tmp_path: Path) -> AsyncIterator[Shell]:
    """Runs `brikk schedule` for somebody of an organisation."""
    world = World(tmp_path, f"sqlite:///{tmp_path}/workflow.db")
    async with world.open(), world.service() as service:
        await service.create(REPORT)
        environment = {
            "BRIKK_HOME": str(tmp_path / "nowhere"),
            "BRIKK_WORKFLOW_ADDRESS": service.address,
            "BRIKK_TOKEN": world.tokens.user("acme", "workflow.read", "workflow.write"),
        }

        async def run(*arguments: str) -> Result:
            return await asyncio.to_thread(brikk, "schedule", *arguments, environment=environment)

        yield run


async def test_a_schedule_is_created_shown_changed_and_deleted(shell: Shell) -> None:
    wrong = await shell("create", "nightly", "--workflow=daily-report", "--cron=0 25 * * *")
    assert (wrong.code, "at character 3: `25` is no hour" in wrong.err) == (1, True)
    made = await shell("create", "nightly", *NIGHTLY, "--jitter=5m", "--overlap=buffer-one")
    lines = made.out.splitlines()
    assert lines[:3] == [
        "schedules/nightly: active",
        "starts: workflows/daily-report",
        "ticks: 30 2 * * * Europe/Berlin",
    ]
    assert lines[4:] == [
        "overlap: buffer one",
        "made up for: 1:00:00",
        "so far: 0 runs, 0 skipped, 0 missed, 0 failed",
    ]
    listed = (await shell("list")).out.splitlines()
    assert [line.split()[:3] for line in listed[1:]] == [
        ["schedules/nightly", "active", "workflows/daily-report"]
    ]
    before = (await shell("show", "nightly", "--json")).json
    assert (before["jitter"], len(before["next_times"])) == ("300s", 5)

    options = ("--every=90m", "--anchor=2026-01-01T00:15:00Z", "--clear=jitter", "--label=team=ops")
    changed = await shell("update", "nightly", *options, f"--etag={before['etag']}", "--json")
    assert changed.json["interval"] == {"every": "5400s", "anchor": "2026-01-01T00:15:00Z"}
    assert (changed.json["jitter"], changed.json["labels"]) == ("0s", {"team": "ops"})
    late = await shell("update", "nightly", "--max-runs=3", f"--etag={before['etag']}")
    assert (late.code, "ETAG_MISMATCH" in late.err) == (1, True)
    assert (await shell("delete", "nightly")).out == "schedules/nightly: deleted\n"


async def test_a_schedule_is_paused_triggered_and_backfilled(shell: Shell) -> None:
    await shell("create", "nightly", *NIGHTLY, "--tick-input=day")
    paused = await shell("pause", "nightly", "--reason=migration")
    assert paused.out.splitlines()[0] == "schedules/nightly: paused: migration"
    resumed = await shell("resume", "schedules/nightly", "--json")
    assert resumed.json["state"] == "STATE_ACTIVE"
    started = await shell("trigger", "nightly")
    name, _, version = started.out.partition(" of ")
    assert version == "workflows/daily-report/versions/1\n"
    window = ("--since=2026-03-28T12:00:00Z", "--until=2026-03-31T00:00:00Z")
    filled = await shell("backfill", "nightly", *window)
    assert filled.out == "schedules/nightly: 2 ticks\n"
    runs = (await shell("show", "nightly", "--json")).json["recent_runs"]
    assert [(run["cause"], run["state"], run["execution"]) for run in runs] == [
        ("CAUSE_BACKFILL", "STATE_WAITING", ""),
        ("CAUSE_BACKFILL", "STATE_WAITING", ""),
        ("CAUSE_TRIGGER", "STATE_STARTED", name),
    ]
    # The clocks went forward on that night.
    assert [run["tick_time"] for run in runs[:2]] == [
        "2026-03-30T00:30:00Z",
        "2026-03-29T01:00:00Z",
    ]

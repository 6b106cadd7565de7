"""`brikk alert` against a monitoring service, as a person or a script uses it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from datetime import UTC, datetime
from pathlib import Path

from brikk_shared.testing import Tokens
from support.command import BRIKK, TIMEOUT, Result, brikk, environment_of
from support.discovery import until
from support.monitoring import execution, monitoring, numbered

RULE = {
    "question": {"metric": "executions", "error_reason": "*"},
    "threshold": {"operator": "OPERATOR_ABOVE", "value": 0},
    "interval": "1s",
    "annotations": {"summary": "{{ value }} failed"},
}


async def test_an_alert_is_defined_seen_and_answered(redis_url: str, tmp_path: Path) -> None:
    tokens = Tokens(tmp_path)
    file = tmp_path / "rule.json"
    file.write_text(json.dumps(RULE))
    async with monitoring(redis_url, tokens) as service:
        environment = {
            "BRIKK_HOME": str(tmp_path / "nowhere"),
            "BRIKK_MONITORING_ADDRESS": service.service.address,
            "BRIKK_TOKEN": tokens.user("acme", "alert.read", "alert.write"),
        }

        async def run(*arguments: str, code: int = 0) -> Result:
            ran = await asyncio.to_thread(brikk, "alert", *arguments, environment=environment)
            assert ran.code == code, ran.err
            return ran

        events = [execution("failed", datetime.now(UTC)) for _ in range(3)]
        await service.publish(*numbered(events))
        previewed, applied, defaults = await asyncio.gather(
            run("preview", str(file), "--window=1m"),
            run("apply", "failing", str(file)),
            run("rules", "--defaults", "--json"),
        )
        assert "firing" in previewed.out
        assert applied.out.splitlines()[1].startswith("alertRules/failing")
        assert len(defaults.json["alert_rules"]) >= 5

        watching = await asyncio.create_subprocess_exec(
            *(BRIKK, "alert", "watch", "--json"),
            stdout=asyncio.subprocess.PIPE,
            env=environment_of(None, environment),
        )
        assert watching.stdout is not None
        async with asyncio.timeout(TIMEOUT):
            alert = json.loads(await watching.stdout.readline())
        assert (alert["state"], alert["annotations"]["summary"]) == ("STATE_FIRING", "3 failed")

        acknowledged = await run("ack", alert["name"])
        assert "acknowledged by: users/tester" in acknowledged.out
        async with asyncio.timeout(TIMEOUT):
            changed = json.loads(await watching.stdout.readline())
        assert changed["state"] == "STATE_ACKNOWLEDGED"
        os.kill(watching.pid, signal.SIGINT)
        assert await watching.wait() == 130

        listed, shown, snoozed = await asyncio.gather(
            run("list", "--rule=failing"),
            run("show", alert["name"], "--json"),
            run("snooze", alert["name"], "--for=5m"),
        )
        assert alert["name"] in listed.out
        assert shown.json["transitions"][-1]["state"] == "STATE_FIRING"
        assert "snoozed until" in snoozed.out
        file.write_text(json.dumps({**RULE, "disabled": True}))
        assert "off" in (await run("apply", "alertRules/failing", str(file))).out

        async def resolved() -> bool:
            found = await run("list", "--state=resolved", "--json")
            return [each["name"] for each in found.json["alerts"]] == [alert["name"]]

        await until(resolved)
        await run("resolve", alert["name"])
        await run("delete", "failing")
        file.write_text('{"no": 1}')
        assert "rule.json" in (await run("apply", "failing", str(file), code=2)).err


async def test_who_is_told_is_said_silenced_and_explained(redis_url: str, tmp_path: Path) -> None:
    tokens = Tokens(tmp_path)
    routes, rule = tmp_path / "routes.json", tmp_path / "rule.json"
    ops = "notificationChannels/ops"
    root = {"id": "root", "channels": [ops], "group_by": ["alertname"], "group_wait": "0s"}
    routes.write_text(json.dumps({"routes": [root]}))
    rule.write_text(json.dumps(RULE))
    async with monitoring(redis_url, tokens) as service:
        environment = {
            "BRIKK_HOME": str(tmp_path / "nowhere"),
            "BRIKK_MONITORING_ADDRESS": service.service.address,
            "BRIKK_TOKEN": tokens.user("acme", "alert.read", "alert.write"),
        }

        async def run(*arguments: str, code: int = 0) -> Result:
            ran = await asyncio.to_thread(brikk, "alert", *arguments, environment=environment)
            assert ran.code == code, ran.err
            return ran

        assert "nobody is told" in (await run("routes")).out
        level = {"channels": [ops], "timeout": "600s"}
        policy = {"name": "escalationPolicies/night", "levels": [level]}
        window = {"name": "maintenanceWindows/w", "schedule": "0 2 * * 0", "duration": "60s"}
        files = tmp_path / "policies.json", tmp_path / "windows.json"
        files[0].write_text(json.dumps({"escalation_policies": [policy]}))
        files[1].write_text(json.dumps({"maintenance_windows": [window]}))
        policies, windows = await asyncio.gather(
            run("policies", "--apply", str(files[0])), run("windows", "--apply", str(files[1]))
        )
        assert f"{ops} for 0:10:00" in policies.out
        assert "0 2 * * 0 UTC" in windows.out
        files[0].write_text(json.dumps({"escalation_policies": [policy | {"loops": 3}]}))
        policies, windows = await asyncio.gather(
            run("policies", "--apply", str(files[0]), "--json"),
            run("windows", "--apply", str(files[1]), "--remove=w", "--json"),
        )
        assert policies.json["escalation_policies"][0]["loops"] == 3
        assert not windows.json["maintenance_windows"]

        applied, made = await asyncio.gather(
            run("routes", "--apply", str(routes)),
            run("silence", "alertname=~fail.*", "--for=1h", "--comment=why", "--json"),
        )
        assert f"root: all -> {ops} by alertname" in applied.out
        (silence,) = made.json["silences"]
        await service.publish(*numbered([execution("failed", datetime.now(UTC))]))
        await asyncio.gather(run("apply", "failing", str(rule)), run("apply", "other", str(rule)))

        async def told() -> bool:
            return len((await run("notices", "--json")).json["notifications"]) == 2

        await until(told)
        sent, withheld, listed, previewed = await asyncio.gather(
            run("notices", "--state=pending", "--channel=ops"),
            run("notices", "--state=suppressed", "--json"),
            run("silences"),
            run("silence", "alertname=failing", "--preview"),
        )
        assert f"{ops} pending alertname=other" in " ".join(sent.out.split())
        (notice,) = withheld.json["notifications"]
        assert notice["reason"] == f"silenced by {silence['name']}"
        assert "alertname=~fail.*" in listed.out
        (alert,) = notice["firing_alerts"]
        assert alert in previewed.out
        explained = await run("explain", alert)
        assert f"nobody is told: {notice['reason']}" in explained.out
        await run("unsilence", silence["name"])
        assert "people are told" in (await run("explain", alert)).out
        assert "LABEL=VALUE" in (await run("silence", "nothing", code=2)).err

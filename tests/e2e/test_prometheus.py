"""A real Prometheus scrapes the suite: rules and dashboards find what they read."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from brikk_cli.plan import SERVICES
from brikk_cli.ports import Ports
from brikk_cli.suite import Suite
from support.discovery import until

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES, DASHBOARDS = DEPLOY / "prometheus", DEPLOY / "grafana"


async def test_rules_and_dashboards_find_what_the_services_tell(
    tmp_path: Path, tell: Callable[[str], None]
) -> None:
    program = shutil.which("prometheus")
    if program is None:
        tell("prometheus is not here: nobody looked whether its rules find what they ask for")
        return
    async with (
        Suite(tmp_path / "home", ports=Ports.free(), log_level="warning") as suite,
        prometheus(program, tmp_path, suite) as ask,
    ):

        async def judged() -> bool:
            targets = await ask("targets", state="active")
            rules = await ask("rules")
            healths = {each["health"] for each in targets["activeTargets"]} | {
                rule["health"] for group in rules["groups"] for rule in group["rules"]
            }
            return healths == {"up", "ok"} and len(targets["activeTargets"]) == len(SERVICES)

        await until(judged)
        for expression in expressions_of_the_dashboards():

            async def answered(expression: str = expression) -> bool:
                return bool((await ask("query", query=expression))["result"])

            await until(answered)
        known = await ask("metadata")
        for name in metrics_of_the_rules():
            bare = re.sub("_(bucket|total)$", "", name)
            assert name in known or bare in known, name
        alerts = await ask("alerts")
        firing = {
            each["labels"]["alertname"] for each in alerts["alerts"] if each["state"] == "firing"
        }
        assert firing == {"BrikkWatchdog"}


def expressions_of_the_dashboards() -> list[str]:
    found = [
        target["expr"].replace("$__rate_interval", "1m")
        for path in DASHBOARDS.glob("*.json")
        for panel in json.loads(path.read_text())["panels"]
        for target in panel["targets"]
    ]
    assert len(found) > 40
    return found


def metrics_of_the_rules() -> set[str]:
    """The names of what is scraped; those with a colon are of rules."""
    found: set[str] = set()
    for name in ("recording.yml", "alerts.yml"):
        for group in yaml.safe_load((RULES / name).read_text())["groups"]:
            for rule in group["rules"]:
                found.update(re.findall(r"(?<![\w:])(?:brikk|grpc)_\w+(?=[{\[) ]|$)", rule["expr"]))
    assert len(found) > 15
    return found - {"grpc_code", "grpc_type", "grpc_method"}


@asynccontextmanager
async def prometheus(program: str, folder: Path, suite: Suite) -> AsyncIterator[Callable[..., Any]]:
    """Run it by the configuration of the repository, but faster, on the ports of the suite."""
    configuration = yaml.safe_load((RULES / "prometheus.yml").read_text())
    configuration["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    configuration["rule_files"] = [str(RULES / each) for each in configuration["rule_files"]]
    for job in configuration["scrape_configs"]:
        service = job["job_name"].removeprefix("brikk-")
        job["static_configs"] = [{"targets": [suite.http_addresses[service]]}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    address = f"127.0.0.1:{Ports.free().discovery}"
    process = await asyncio.create_subprocess_exec(
        program,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={address}",
        "--log.level=error",
    )
    try:
        async with aiohttp.ClientSession() as session:

            async def ask(what: str, **parameters: str) -> Any:
                url = f"http://{address}/api/v1/{what}"
                async with session.get(url, params=parameters) as answer:
                    assert answer.status == 200
                    return (await answer.json())["data"]

            async def ready() -> bool:
                try:
                    async with session.get(f"http://{address}/-/ready") as answer:
                        return answer.status == 200
                except aiohttp.ClientConnectionError:
                    return False

            await until(ready)
            yield ask
    finally:
        process.terminate()
        await process.wait()

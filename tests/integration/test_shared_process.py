"""A service as a process: it starts, says what is wrong with its settings, and ends on SIGTERM."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

_PROGRAM = """
from pydantic_settings import SettingsConfigDict
from brikk_shared.application import Application, run
from brikk_shared.settings import CommonSettings

class Settings(CommonSettings):
    model_config = SettingsConfigDict(env_prefix="BRIKK_PROBE_")

async def build(settings: Settings, app: Application) -> None:
    pass

run(Settings, build)
"""


async def _start(**environment: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        _PROGRAM,
        env={f"BRIKK_PROBE_{name}": value for name, value in environment.items()},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def _end(process: asyncio.subprocess.Process) -> str:
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert out == b""
    return err.decode()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
async def test_it_serves_until_it_is_told_to_stop(signum: signal.Signals) -> None:
    process = await _start(LOG_FORMAT="json")
    assert process.stderr is not None
    serving = json.loads(await process.stderr.readline())
    assert serving["event"] == "serving"
    async with grpc.aio.insecure_channel(serving["grpc"]) as channel:
        answer = await health_pb2_grpc.HealthStub(channel).Check(
            health_pb2.HealthCheckRequest(), timeout=10
        )
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    process.send_signal(signum)
    lines = [json.loads(line) for line in (await _end(process)).splitlines()]
    assert [line["event"] for line in lines] == ["stopping", "stopped"]
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("environment", "messages"),
    [
        (
            {"RATE_LIMIT": "canary", "LOG_LEVEL": "loud"},
            ["BRIKK_PROBE_RATE_LIMIT: ", "BRIKK_PROBE_LOG_LEVEL: "],
        ),
        ({"ISSUERS": "canary"}, ["BRIKK_PROBE_ISSUERS: not valid JSON"]),
        ({"ISSUERS": '[{"issuer": "x"}]'}, ["BRIKK_PROBE_ISSUERS.0.JWKS: Field required"]),
        ({"LISTEN": "0.0.0.0:1"}, ["off loopback"]),
    ],
)
async def test_a_wrong_setting_is_named_but_not_repeated(
    environment: dict[str, str], messages: list[str]
) -> None:
    process = await _start(**environment)
    text = await _end(process)
    assert process.returncode == 2
    assert all(message in text for message in messages)
    assert "canary" not in text
    assert "Traceback" not in text


async def test_what_keeps_it_from_starting_is_one_line(tmp_path: Path) -> None:
    issuers = [{"issuer": "x", "jwks": str(tmp_path / "absent.json")}]
    process = await _start(ISSUERS=json.dumps(issuers))
    text = await _end(process)
    assert process.returncode == 1
    assert "absent.json" in text
    assert len(text.splitlines()) == 1


async def test_an_unknown_fault_is_refused() -> None:
    process = await _start(FAULT="no.such.point")
    assert "no.such.point" in await _end(process)
    assert process.returncode != 0

"""The steps of deploy/Dockerfile, done without Docker: what they make serves, and no more."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

ROOT = Path(__file__).parents[2]
SERVICES = ("discovery", "workflow", "webhooks", "monitoring")
UNPRIVILEGED = ("setpriv", "--bounding-set=-all", "--inh-caps=-all") if os.getuid() == 0 else ()
"""Root without its powers: it cannot write where it has no right to, like any other user."""


@pytest.mark.timeout(300)
async def test_an_image_serves_alone_from_a_tree_that_it_cannot_write(tmp_path: Path) -> None:
    service = "discovery"
    image = tmp_path / "image"
    entry = await asyncio.to_thread(build, service, image)
    data = tmp_path / "data"
    data.mkdir()
    _read_only(image)
    assert await asyncio.to_thread(services_in, image) == [service]
    before = sorted(image.rglob("*"))
    prefix = f"BRIKK_{service.upper()}"
    process = await asyncio.create_subprocess_exec(
        *(*UNPRIVILEGED, entry),
        env={
            "PATH": os.environ["PATH"],
            f"{prefix}_LISTEN": "127.0.0.1:0",
            f"{prefix}_HTTP_LISTEN": "127.0.0.1:0",
            f"{prefix}_DATABASE_URL": f"sqlite:///{data}/store.db",
        },
        cwd=data,
        stderr=PIPE,
    )
    try:
        assert process.stderr is not None
        async with asyncio.timeout(60):
            while (line := json.loads(await process.stderr.readline()))["event"] != "serving":
                pass
        async with grpc.aio.insecure_channel(line["grpc"]) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            answer = await health.Check(health_pb2.HealthCheckRequest(), timeout=10)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        process.terminate()
        assert await process.wait() == 0
        assert sorted(image.rglob("*")) == before
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def services_in(image: Path) -> list[str]:
    """Return the services whose code can be imported there."""
    program = "import sys, importlib.util as u; print(*filter(u.find_spec, sys.argv[1:]))"
    found = subprocess.run(
        [image / "app/bin/python", "-Ic", program, *(f"brikk_{each}" for each in SERVICES)],
        stdout=PIPE,
        text=True,
        check=True,
    )
    return [each.removeprefix("brikk_") for each in found.stdout.split()]


def build(service: str, image: Path) -> str:
    """Do the steps of the Dockerfile below a folder; return the path of its entry point.

    Absolute paths of the image lie below the folder. A step that is not known is a failure.
    """
    folder = image / "src"
    stages = 0
    for step in _steps((ROOT / "deploy/Dockerfile").read_text(), service):
        word, _, rest = step.partition(" ")
        match word:
            case "FROM":
                # The second stage has the same files in the same place: its COPY is checked only.
                stages += 1
            case "ARG" | "ENV" | "USER":
                pass
            case "WORKDIR" if stages == 1:
                assert rest == "/src"
                folder.mkdir(parents=True)
            case "WORKDIR":
                assert rest == "/tmp"
            case "COPY" if stages == 2:
                assert rest == "--from=build /app /app"
            case "COPY":
                *sources, target = rest.split()
                _copy(sources, folder / target, folder_wanted=target.endswith("/"))
            case "RUN":
                subprocess.run(
                    ["/bin/sh", "-ec", _below(image, rest)], cwd=folder, check=True, stdout=PIPE
                )
            case "ENTRYPOINT":
                [entry] = json.loads(rest)
                return f"{image}{entry}"
            case _:
                raise AssertionError(f"nobody knows what {word} does")
    raise AssertionError("there is no ENTRYPOINT")


def _steps(text: str, service: str) -> list[str]:
    lines = text.replace("\\\n", " ").splitlines()
    assert "USER 10001:10001" in lines
    return [
        line.replace("${SERVICE}", service) for line in lines if line and not line.startswith("#")
    ]


def _below(image: Path, command: str) -> str:
    """The command with the image's absolute paths below a folder, and this Python."""
    command = command.replace("python -m venv", f"{shlex.quote(sys.executable)} -m venv")
    return re.sub(r"(?<!\S)/(?=(app|build|wheels)\b)", f"{image}/", command)


def _copy(sources: list[str], target: Path, *, folder_wanted: bool) -> None:
    if folder_wanted:
        target.mkdir(parents=True, exist_ok=True)
    for source in sources:
        path = ROOT / source
        if path.is_dir():
            shutil.copytree(path, target, ignore=shutil.ignore_patterns("__pycache__", "*.db"))
        else:
            shutil.copy(path, target)


def _read_only(folder: Path) -> None:
    """Take the right to write from everything below."""
    for path in [folder, *folder.rglob("*")]:
        if not path.is_symlink():
            path.chmod(path.stat().st_mode & ~0o222)

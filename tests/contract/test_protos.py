"""The contracts keep their style, break no released client, and the committed stubs are theirs."""

from __future__ import annotations

import filecmp
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2

ROOT = Path(__file__).resolve().parents[2]
PROTOC_PYTHON = ROOT / ".venv-protoc" / "bin" / "python"
BUF = Path(sys.executable).parent / "buf"
UV = Path(sys.executable).parent / "uv"


def generate(*arguments: str) -> None:
    subprocess.run(
        [PROTOC_PYTHON, ROOT / "protos" / "generate.py", *arguments],
        check=True,
        capture_output=True,
    )


def buf(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BUF, *arguments, "--config", ROOT / "buf.yaml"],
        check=False,
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def descriptors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("contracts") / "contracts.binpb"
    generate("--descriptors", str(path))
    return path


def test_lint(descriptors: Path) -> None:
    result = buf("lint", descriptors)
    assert result.returncode == 0, result.stdout


def test_no_released_client_breaks(descriptors: Path) -> None:
    result = buf("breaking", descriptors, "--against", ROOT / "protos" / "baseline.binpb")
    assert result.returncode == 0, result.stdout


def test_a_removed_field_is_caught(descriptors: Path, tmp_path: Path) -> None:
    files = descriptor_pb2.FileDescriptorSet.FromString(descriptors.read_bytes())
    event = next(file for file in files.file if file.name == "brikk/event/v1/event.proto")
    removed = event.message_type[0].field.pop()
    broken = tmp_path / "broken.binpb"
    broken.write_bytes(files.SerializeToString())

    result = buf("breaking", broken, "--against", ROOT / "protos" / "baseline.binpb")

    assert result.returncode != 0
    assert removed.name in result.stdout


def test_the_committed_stubs_are_those_of_the_contracts(tmp_path: Path) -> None:
    generate(str(tmp_path / "gen"))
    committed = ROOT / "protos" / "gen"
    names = {
        str(path.relative_to(tree))
        for tree in (tmp_path / "gen", committed)
        for path in tree.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    same, different, missing = filecmp.cmpfiles(tmp_path / "gen", committed, names, shallow=False)
    assert same
    assert not different + missing, "run `make protos`"


def test_only_generated_code_lives_in_the_namespace() -> None:
    gen = ROOT / "protos" / "gen"
    assert not list(gen.rglob("__init__.py"))
    assert {path.name for path in gen.iterdir()} == {"brikk"}


@pytest.mark.timeout(300)
def test_the_distribution_alone_gives_an_agent_its_stubs(tmp_path: Path) -> None:
    venv.create(tmp_path / "env", with_pip=False)
    python = tmp_path / "env" / "bin" / "python"
    subprocess.run(
        [UV, "pip", "install", "--quiet", "--python", python, ROOT / "protos"],
        check=True,
        cwd=tmp_path,
    )
    subprocess.run(
        [
            python,
            "-c",
            "from brikk.agent.v1 import agent_runtime_service_pb2_grpc as agent;"
            "agent.AgentRuntimeServiceServicer; agent.AgentRuntimeServiceStub",
        ],
        check=True,
        cwd=tmp_path,
    )

"""Compiles the contracts: stubs, type stubs and a descriptor set, into an empty folder.

Runs in an environment of its own (locks/protoc.txt) with an old grpcio-tools: generated code
refuses a protobuf runtime older than its generator, and agents must not be forced onto the newest.

    python protos/generate.py OUT            stubs into OUT (wiped first), as `make protos` does
    python protos/generate.py --descriptors FILE   only the descriptor set
"""

from __future__ import annotations

import os
import shutil
import sys
from importlib import resources
from pathlib import Path

import google
from grpc_tools import protoc

PROTOS = Path(__file__).resolve().parent


def compile_contracts(*outputs: str) -> None:
    """Runs protoc over every contract with the given outputs; exits with its code when it fails."""
    includes = [
        PROTOS,
        resources.files("grpc_tools") / "_proto",
        *(Path(folder).parent for folder in google.__path__),
    ]
    sources = sorted(str(path.relative_to(PROTOS)) for path in (PROTOS / "brikk").rglob("*.proto"))
    os.environ["PATH"] = os.pathsep.join(
        [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
    )
    if code := protoc.main(
        ["protoc", *(f"-I{include}" for include in includes), *outputs, *sources]
    ):
        sys.exit(code)


def generate_stubs(out: Path) -> None:
    """Wipes `out` and writes the stubs there, with a py.typed in each leaf package."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    compile_contracts(
        *(f"--{kind}_out={out}" for kind in ("python", "grpc_python", "mypy", "mypy_grpc"))
    )
    for leaf in {stub.parent for stub in out.rglob("*_pb2.py")}:
        (leaf / "py.typed").touch()


def write_descriptors(path: Path) -> None:
    """Writes the contracts and their imports as one FileDescriptorSet, fully annotated."""
    compile_contracts(
        f"--descriptor_set_out={path}",
        "--include_imports",
        "--include_source_info",
        "--retain_options",
    )


def main() -> None:
    """Reads the command line."""
    match sys.argv[1:]:
        case ["--descriptors", path]:
            write_descriptors(Path(path))
        case [out] if not out.startswith("-"):
            generate_stubs(Path(out))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()

"""Resolves the lock files from the pyprojects: universal, hashed, free of paths and hosts.

python locks/compile.py          writes locks/*.txt
python locks/compile.py --check  names the files that no longer match; exits 1 then
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SERVICES = ("discovery", "workflow", "webhooks", "monitoring")
LOCAL = ["protos", "shared", *(f"services/{name}" for name in SERVICES), "sdk", "cli"]


def inputs(lock: str) -> list[str]:
    """Returns the requirement lines that a lock file is made of."""
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    match lock:
        case "protoc" | "build":
            return list(groups[lock])
        case "dev":
            return [*(f"-e ./{folder}" for folder in LOCAL), *groups["dev"]]
        case service:
            return ["-e ./protos", "-e ./shared", f"-e ./services/{service}"]


def resolve(lock: str) -> str:
    """Returns the lock file's text; what is locked stays while it still fits."""
    with tempfile.NamedTemporaryFile("w", suffix=".in", dir=ROOT) as requirements:
        requirements.write("\n".join(inputs(lock)) + "\n")
        requirements.flush()
        command = [
            sys.executable,
            "-m",
            "uv",
            "pip",
            "compile",
            "--quiet",
            "--universal",
            "--python-version",
            "3.11",
        ]
        command += [
            "--generate-hashes",
            "--no-header",
            "--no-annotate",
            "--no-emit-index-url",
            "--no-emit-find-links",
        ]
        for folder in LOCAL:
            name = tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"]["name"]
            command += ["--no-emit-package", name]
        current = ROOT / "locks" / f"{lock}.txt"
        output = Path(requirements.name).with_suffix(".txt")
        try:
            if current.exists():
                output.write_text(current.read_text())
            subprocess.run(
                [*command, "-o", str(output), requirements.name],
                check=True,
                cwd=ROOT,
                stdout=subprocess.DEVNULL,
            )
            return output.read_text()
        finally:
            output.unlink(missing_ok=True)


def main() -> None:
    """Writes the lock files, or checks them."""
    stale = []
    for lock in ("dev", "protoc", "build", *SERVICES):
        path, text = ROOT / "locks" / f"{lock}.txt", resolve(lock)
        if "--check" not in sys.argv[1:]:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            stale.append(path.name)
    if stale:
        sys.exit(f"Run `make locks`: {', '.join(stale)} no longer match the pyprojects.")


if __name__ == "__main__":
    main()

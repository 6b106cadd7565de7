"""The lock files fit the pyprojects, pin everything by hash, and name no host and no path."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ("dev", "protoc", "discovery", "workflow", "webhooks", "monitoring")
FOLDERS = {
    "brikk-protos": "protos",
    "brikk-shared": "shared",
    "brikk-agent": "sdk",
    "brikk-cli": "cli",
    **{f"brikk-{name}": f"services/{name}" for name in LOCKS[2:]},
}
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)", re.MULTILINE)


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(lock: str) -> list[Requirement]:
    """What the pyprojects behind a lock file ask for, extras of our own included."""
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    wanted = [Requirement(line) for line in groups.get(lock, [])]
    ours = {"dev": list(FOLDERS), "protoc": []}.get(lock, [f"brikk-{lock}"])
    found = list(wanted)
    queue = [Requirement(name) for name in ours]
    while queue:
        requirement = queue.pop()
        folder = FOLDERS.get(requirement.name)
        if folder is None:
            found.append(requirement)
            continue
        project = tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"]
        extras = project.get("optional-dependencies", {})
        lines = [
            *project["dependencies"],
            *(each for extra in requirement.extras for each in extras[extra]),
        ]
        queue += [Requirement(line) for line in lines]
    return found


@pytest.mark.parametrize("lock", LOCKS)
def test_every_declared_requirement_is_pinned_within_its_range(lock: str) -> None:
    text = (ROOT / "locks" / f"{lock}.txt").read_text()
    pins = {canonical(name): version for name, version in _PIN.findall(text)}
    for requirement in declared(lock):
        version = pins.get(canonical(requirement.name))
        assert version is not None, f"{requirement} is not locked: run `make locks`"
        assert requirement.specifier.contains(version), f"{requirement} is locked at {version}"


@pytest.mark.parametrize("lock", LOCKS)
def test_everything_is_hashed_and_nothing_names_a_host_or_a_path(lock: str) -> None:
    text = (ROOT / "locks" / f"{lock}.txt").read_text()
    assert "://" not in text
    assert "-e " not in text
    assert "/" not in text
    packages = re.split(r"\n(?=[A-Za-z0-9])", text.strip())
    assert all("--hash=sha256:" in package for package in packages)

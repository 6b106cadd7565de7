"""Where the demonstration's agents, workflow and records are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from google.protobuf.struct_pb2 import Struct

from brikk_cli.failures import CommandError
from brikk_cli.inputs import parse_input

WORKFLOW = Path("workflows/ticket-triage.yaml")
RECORDS = Path("data/tickets.jsonl")
AGENTS = Path("agents")


@dataclass(frozen=True, kw_only=True, slots=True)
class Examples:
    """The folder `examples` of a checkout."""

    folder: Path

    @classmethod
    def find(cls) -> Examples:
        """Looks in the checkout that this file belongs to, then from the current folder upwards.

        Raises CommandError when there is none.
        """
        checkout = Path(__file__).resolve().parents[3]
        here = Path.cwd()
        places = [folder / "examples" for folder in (checkout, here, *here.parents)]
        for place in places:
            if (place / WORKFLOW).is_file() and (place / RECORDS).is_file():
                return cls(folder=place)
        raise CommandError(
            f"the examples are missing: no {WORKFLOW} and {RECORDS} in {places[0]}, nor in a folder"
            f" `examples` from {here} upwards; run this inside a checkout of Brikk"
        )

    @property
    def workflow(self) -> Path:
        """The workflow, in YAML."""
        return self.folder / WORKFLOW

    def agents(self) -> list[Path]:
        """The programs that are agents."""
        return sorted((self.folder / AGENTS).glob("[!_]*.py"))

    def records(self) -> list[Struct]:
        """One input per line of the file of records; CommandError names a line that is none."""
        lines = enumerate((self.folder / RECORDS).read_bytes().splitlines(), start=1)
        return [parse_input(line, f"{RECORDS}:{number}") for number, line in lines if line.strip()]

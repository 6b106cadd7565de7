"""Histories that are verified from files, where no service is."""

from __future__ import annotations

import gzip
from pathlib import Path

from support.chained import history, written
from support.command import brikk


def test_files_are_verified_without_a_service(tmp_path: Path) -> None:
    plain, packed = tmp_path / "run.jsonl", tmp_path / "day.jsonl.gz"
    lines = history()
    plain.write_text(written(lines))
    # As an archive is: in pieces that were compressed one by one.
    pieces = (written(lines), written(history("b2", 3, unchained=2)))
    packed.write_bytes(b"".join(gzip.compress(piece.encode()) for piece in pieces))
    told = brikk("execution", "verify", str(plain), str(packed), home=tmp_path)
    assert (told.code, told.out.splitlines()) == (
        0,
        [
            f"{plain}: 5 entries of executions/b1 are as they were written",
            f"{packed}: 8 entries of 2 executions are as they were written; 2 of them are older "
            "than the chain, of which nothing is known",
        ],
    )
    head = lines[0]["hash"]
    told = brikk("execution", "verify", str(plain), f"--head={head}", "--json", home=tmp_path)
    assert told.json == {
        "executions": [{"execution": "b1", "entries": 5, "unchained": 0, "head": head}]
    }


def test_what_is_wrong_with_a_file_is_told(tmp_path: Path) -> None:
    lines = history()
    lines[4]["attributes"] = "{}"
    changed = tmp_path / "changed.jsonl"
    changed.write_text(written(lines))
    told = brikk("execution", "verify", str(changed), home=tmp_path)
    assert (told.code, told.err) == (
        1,
        f"brikk: {changed}: executions/b1: entry 3 is not as it was written after those before"
        " it\n",
    )
    cut = tmp_path / "cut.jsonl.gz"
    cut.write_bytes(gzip.compress(written(history()).encode())[:-20])
    told = brikk("execution", "verify", str(cut), home=tmp_path)
    assert (told.code, told.err) == (1, f"brikk: {cut}: it is damaged or cut short\n")
    whole = tmp_path / "whole.jsonl"
    whole.write_text(written(history()))
    told = brikk("execution", "verify", str(whole), f"--head={'0' * 64}", home=tmp_path)
    assert (told.code, told.err) == (
        1,
        f"brikk: the history does not end with the hash {'0' * 64}\n",
    )
    told = brikk("execution", "verify", "missing.jsonl", home=tmp_path)
    assert (told.code, told.err) == (2, "brikk: missing.jsonl: no such file\n")

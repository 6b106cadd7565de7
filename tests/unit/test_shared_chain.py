"""Exports of histories: each way of changing one afterwards shows, and where."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from brikk_shared.chain import BrokenChain, Verified, link, verify
from support.chained import Line, history, written


def verified(lines: list[Line]) -> list[Verified]:
    return list(verify(written(lines).splitlines()))


def complaint(lines: list[Line]) -> str:
    with pytest.raises(BrokenChain) as caught:
        verified(lines)
    return str(caught.value)


def test_what_was_not_touched_is_verified() -> None:
    lines = history() + history("b2", 1)
    assert verified(lines) == [
        Verified(execution="b1", entries=5, unchained=0, head=lines[0]["hash"]),
        Verified(execution="b2", entries=1, unchained=0, head=lines[-1]["hash"]),
    ]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("type", "step.x"),
        ("step", ""),
        ("time", 7),
        ("attributes", "{}"),
        ("hash", "0" * 64),
    ],
)
def test_a_changed_entry_is_named(field: str, value: object) -> None:
    lines = history()
    lines[4] |= {field: value}
    assert complaint(lines) == (
        "executions/b1: entry 3 is not as it was written after those before it"
    )


def test_a_change_whose_hash_was_made_anew_shows_at_the_next_entry() -> None:
    lines = history()
    before, changed = bytes.fromhex(lines[3]["hash"]), lines[4]
    changed["attributes"] = "{}"
    changed["hash"] = link(before, "acme", "b1", 3, changed["type"], "a/1/b", 3, "{}").hex()
    assert "entry 4 is not as it was written" in complaint(lines)


def test_an_entry_of_another_execution_is_told_apart() -> None:
    lines = history()
    assert "entry 1 is not" in complaint([lines[0] | {"execution": "b2"}, *lines[1:]])
    assert "entry 1 is not" in complaint([lines[0] | {"organization": "other"}, *lines[1:]])
    assert "entry 5 is not" in complaint([*lines[:-1], history("b2")[-1]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e: [*e[:2], *e[3:]], "entry 4 follows entry 2, where entry 3 belongs"),
        (lambda e: e[1:], "entry 2 is the first, where entry 1 belongs"),
        (lambda e: [*e[:3], e[2], *e[3:]], "entry 3 follows entry 3, where entry 4 belongs"),
        (lambda e: [e[0], e[2], e[1], *e[3:]], "entry 3 follows entry 1, where entry 2 belongs"),
        (lambda e: e[:-1], "ends at entry 4 of 5"),
        (lambda e: [], "ends at entry 0 of 5"),
        (lambda e: [*e[:2], e[2] | {"hash": ""}, *e[3:]], "entry 3 has no hash"),
        (lambda e: [each | {"hash": ""} for each in e], "no entry has a hash"),
    ],
)
def test_what_was_removed_inserted_or_moved_is_named(
    change: Callable[[list[Line]], list[Line]], message: str
) -> None:
    header, given, *entries = history()
    assert message in complaint([header, given, *change(entries)])


def test_a_history_cut_short_with_its_header_still_has_another_head() -> None:
    header, given, *entries = history()
    cut = [header | {"sequence": 4}, given, *entries[:-1]]
    assert complaint(cut) == "executions/b1: entry 4 has another hash than the execution says"


def test_entries_from_before_the_chain_are_counted_and_cannot_be_added() -> None:
    lines = history(unchained=2)
    assert [each.unchained for each in verified(lines)] == [2]
    stripped = [line | {"hash": ""} if line.get("sequence") == 1 else line for line in history()]
    stripped[0]["hash"] = lines[0]["hash"]
    assert "entry 2 is not as it was written" in complaint(stripped)


@pytest.mark.parametrize("line", ["", "{", "[]", "1", '{"kind": "entry"}', '{"sequence": 1}'])
def test_what_is_no_line_of_an_export_is_named(line: str) -> None:
    lines = [json.dumps(each) for each in history()]
    with pytest.raises(BrokenChain, match="line 5 is not one of an export, or is cut short"):
        list(verify([*lines[:4], line, *lines[4:]]))
    with pytest.raises(BrokenChain):
        list(verify([line] if line else []))

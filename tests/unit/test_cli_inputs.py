"""What may come in as input or definition, and what is said about the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from brikk_cli.definitions import read_definition
from brikk_cli.failures import CommandError, ExitCode
from brikk_cli.inputs import parse_input, read_input
from brikk_shared.structs import from_struct


def test_an_input_is_a_json_object(tmp_path: Path) -> None:
    file = tmp_path / "input.json"
    file.write_text('{"a": [1, null, "é"]}')
    expected = {"a": [1.0, None, "é"]}
    assert from_struct(read_input(file, None)) == expected
    assert from_struct(read_input(None, '{"a": [1, null, "é"]}')) == expected
    assert from_struct(read_input(None, None)) == {}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "f:1:1: not JSON: Expecting value"),
        (b'{"a": 1,\n "b" 2}', "f:2:6: not JSON: Expecting ':' delimiter"),
        (b"[1]", "f: the input must be a JSON object"),
        (b'{"a": "\xff"}', "f: not UTF-8 at byte 7"),
        (b'{"a": {"b": NaN}}', "input.a.b"),
        (b'{"a": "\\u0000"}', "input.a"),
        (b'{"a": ["\\ud800"]}', "input.a[0]"),
        (b'{"a":' * 40 + b"1" + b"}" * 40, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
    ],
)
def test_other_inputs_are_refused_precisely(content: bytes, problem: str) -> None:
    with pytest.raises(CommandError) as refused:
        parse_input(content, "f")
    assert problem in str(refused.value)
    assert refused.value.exit_code == ExitCode.USAGE


def test_two_inputs_are_one_too_many(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="not both"):
        read_input(tmp_path / "input.json", "{}")


def test_a_definition_that_is_not_text_is_refused_where_it_is_not(tmp_path: Path) -> None:
    file = tmp_path / "workflow.yaml"
    file.write_bytes("naïve: x\nb: é".encode() + b"\xed\xa0\x80")
    with pytest.raises(CommandError) as refused:
        read_definition(file)
    assert str(refused.value) == f"{file}:2:5: not UTF-8 (byte 0xed)"

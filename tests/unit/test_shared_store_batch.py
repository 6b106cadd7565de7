"""What a batch refuses before it reaches a store."""

from __future__ import annotations

from datetime import datetime

import pytest

from brikk_shared.batch import Dialect, batch_params, batch_source


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_an_unknown_type_is_named(dialect: Dialect) -> None:
    with pytest.raises(ValueError, match="varchar"):
        batch_source(dialect, {"name": "varchar"})


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_a_row_must_have_every_column(dialect: Dialect) -> None:
    with pytest.raises(KeyError, match="name"):
        batch_params(dialect, {"name": "text"}, [{"nam": "x"}])


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_a_naive_time_is_refused(dialect: Dialect) -> None:
    naive = datetime(2026, 1, 1)  # noqa: DTZ001 - that is the point
    with pytest.raises(ValueError, match="time zone"):
        batch_params(dialect, {"time": "timestamp"}, [{"time": naive}])


@pytest.mark.parametrize("text", ["\0", "a\0b", "\\\0", "\\\\u0000\0"])
def test_nul_is_refused_where_the_store_would_cut_the_text(text: str) -> None:
    with pytest.raises(ValueError, match="NUL"):
        batch_params("sqlite", {"text": "text"}, [{"text": text}])


@pytest.mark.parametrize("text", ["\\u0000", "\\\\u0000", "u0000", "\\"])
def test_what_only_looks_like_nul_is_not_refused(text: str) -> None:
    assert batch_params("sqlite", {"text": "text"}, [{"text": text}])


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_what_json_cannot_carry_is_refused(number: float) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        batch_params("sqlite", {"number": "double"}, [{"number": number}])

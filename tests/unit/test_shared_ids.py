"""Ids sort by time and are names that every contract accepts."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from brikk_shared.ids import first_id, moment_of, new_id


def test_ids_sort_in_the_order_they_were_made() -> None:
    ids = [new_id() for _ in range(10_000)]
    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)


def test_threads_never_make_the_same_id() -> None:
    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(lambda _: new_id(), range(20_000)))
    assert len(set(ids)) == len(ids)


def test_an_id_is_a_resource_id() -> None:
    assert re.fullmatch(r"[a-z][a-z0-9]{31}", new_id())


def test_an_id_tells_when_it_was_made() -> None:
    moment = datetime(2026, 11, 24, 3, 4, 5, 678_000, tzinfo=UTC)
    assert moment_of(first_id(moment)) == moment

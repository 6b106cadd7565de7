"""The journal gives all that may have been missed, or says that it cannot."""

from __future__ import annotations

from brikk_discovery.domain.agent import AgentKey
from brikk_discovery.runtime.journal import Change, Journal

ONE, TWO, FOREIGN = AgentKey("acme", "one"), AgentKey("acme", "two"), AgentKey("globex", "one")


def change(key: AgentKey, capability: str = "a") -> Change:
    return Change(key, capability)


def since(journal: Journal, revision: int, organization: str = "acme") -> list[Change] | None:
    number = journal.find(revision)
    return None if number is None else journal.since(organization, number, beyond=revision)


def test_whoever_knows_everything_missed_what_had_no_revision_only() -> None:
    journal = Journal(limit=10)
    journal.note(change(ONE), 1)
    journal.note(change(TWO), 2)
    journal.note(change(ONE), 2)
    assert since(journal, 3) == []
    assert since(journal, 2) == [change(ONE), change(TWO)]
    assert since(journal, 1) == [change(ONE), change(TWO)]
    assert journal.since("acme", journal.number) == []


def test_each_offer_is_held_once_where_it_changed_last() -> None:
    journal = Journal(limit=3)
    for revision in range(1, 50):
        journal.note(change(ONE), revision)
        journal.note(change(TWO), revision)
    assert since(journal, 0) == [change(TWO), change(ONE)]


def test_organizations_are_apart() -> None:
    journal = Journal(limit=10)
    journal.note(change(ONE), 1)
    journal.note(change(FOREIGN), 2)
    assert since(journal, 0, "globex") == [change(FOREIGN)]
    assert since(journal, 0, "acme") == [change(ONE)]


def test_what_comes_late_is_read_by_those_who_came_before() -> None:
    journal = Journal(limit=10)
    journal.note(change(ONE), 9)
    journal.note(change(TWO), 5)
    assert since(journal, 9) == [change(TWO), change(ONE)]


def test_what_is_forgotten_cannot_be_read() -> None:
    journal = Journal(limit=2)
    start = journal.number
    for revision, capability in enumerate("abc", start=1):
        journal.note(change(ONE, capability), revision)
    assert journal.since("acme", start) is None
    assert since(journal, 1) is None
    assert since(journal, 2) == [change(ONE, "c"), change(ONE, "b")]


def test_what_the_store_remembers_is_read_by_those_who_did_not_know_it() -> None:
    journal = Journal(limit=10)
    journal.load({ONE: 3, TWO: 6, FOREIGN: 8}, since=4, until=9)
    assert since(journal, 3) is None
    assert since(journal, 4) == since(journal, 5) == [change(TWO, "")]
    assert since(journal, 6) == []
    assert since(journal, 7, "globex") == [change(FOREIGN, "")]
    assert since(journal, 8, "globex") == []
    journal.note(change(ONE), 10)
    assert since(journal, 9) == [change(ONE)]


def test_a_journal_begun_anew_knows_nothing_of_before() -> None:
    journal = Journal(limit=10)
    journal.note(change(ONE), 7)
    number = journal.number
    journal.load({}, since=5, until=5)
    assert journal.since("acme", number) is None
    assert since(journal, 4) is None
    assert since(journal, 5) == []

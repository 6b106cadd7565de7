from __future__ import annotations

import json
import re
from concurrent.futures import wait
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from brikk_agent import InvalidInput, Retryable
from examples.agents import classifier, composer, extractor, librarian, redactor
from examples.agents.librarian import Handbook, Index

DATA = Path(classifier.__file__).parents[1] / "data"
TICKETS = [json.loads(line) for line in (DATA / "tickets.jsonl").read_text().splitlines()]
# What a person says about each ticket.
TOPICS = {
    "account": (1005, 1008, 1015, 1023),
    "billing": (1002, 1006, 1014, 1021, 1025),
    "delivery": (1001, 1010, 1011, 1013, 1018, 1022),
    "returns": (1003, 1009, 1017, 1020, 1024),
    "technical": (1004, 1007, 1012, 1016, 1019, 1026),
}
JUDGED = {f"T-{number}": topic for topic, numbers in TOPICS.items() for number in numbers}
URGENT = {"T-1002", "T-1004", "T-1008", "T-1010", "T-1017", "T-1019", "T-1025"}
RECEIVED = "2026-01-05T08:00:00Z"


def test_there_are_enough_different_tickets() -> None:
    assert len(TICKETS) >= 24
    assert {ticket["id"] for ticket in TICKETS} == set(JUDGED)
    for key in ("id", "customer", "subject", "body"):
        assert len({ticket[key] for ticket in TICKETS}) == len(TICKETS)
    assert {ticket["channel"] for ticket in TICKETS} == {"email", "form", "chat", "phone"}


@pytest.mark.parametrize("ticket", TICKETS, ids=lambda ticket: str(ticket["id"]))
def test_tickets_are_sorted_as_a_person_does(ticket: dict[str, str]) -> None:
    redacted = redactor.redact(ticket["body"], [ticket["customer"]])["text"]
    found = classifier.classify(ticket["subject"], redacted)
    assert found["topic"] == JUDGED[ticket["id"]]
    assert (found["urgency"] == "high") == (ticket["id"] in URGENT)
    assert 0.5 < found["confidence"] <= 1


def test_a_ticket_without_words_is_refused() -> None:
    with pytest.raises(InvalidInput, match="no words"):
        classifier.classify("?", "123 ...")


@pytest.mark.parametrize("ticket", TICKETS, ids=lambda ticket: str(ticket["id"]))
def test_no_personal_data_is_left_in_a_redacted_ticket(ticket: dict[str, str]) -> None:
    text = redactor.redact(ticket["body"], [ticket["customer"]])["text"]
    assert ticket["customer"] not in text
    assert "@" not in text
    assert not re.search(r"\+\d\d", text)
    assert not re.search(r"\d{4} \d{4}", text)
    assert re.findall(r"LF-\d+", text) == re.findall(r"LF-\d+", ticket["body"])


def test_facts_are_found_in_their_notations() -> None:
    facts = extractor.extract(
        "Order LF-123456 (LF-123456) of 28 December, paid 1,249.00 GBP on 02.01.2026 and 5.50 EUR "
        "yesterday; 31.02.2026 and 2026-13-01 are no days. jo@example.com, +44 7700 900-555.",
        RECEIVED,
    )
    assert facts == extractor.Facts(
        orders=["LF-123456"],
        amounts=[
            extractor.Amount(currency="GBP", value=1249.0),
            extractor.Amount(currency="EUR", value=5.5),
        ],
        dates=["2025-12-28", "2026-01-02", "2026-01-04"],
        emails=["jo@example.com"],
        phones=["+447700900555"],
    )
    with pytest.raises(InvalidInput, match="ISO 8601"):
        extractor.extract("", "yesterday")


def test_a_day_that_no_year_near_has_is_passed_over() -> None:
    assert extractor.extract("on 29 February", RECEIVED).dates == []
    assert extractor.extract("on 29 February", "2028-12-01T00:00:00Z").dates == ["2028-02-29"]


def test_the_handbook_is_read_when_it_is_first_wanted() -> None:
    handbook = Handbook(DATA / "handbook")
    with pytest.raises(Retryable) as caught:
        handbook.index()
    assert caught.value.reason == "WARMING_UP"
    assert handbook.reading is not None
    wait([handbook.reading])
    assert handbook.index() is handbook.index()


def test_a_handbook_that_cannot_be_read_is_tried_again(tmp_path: Path) -> None:
    (tmp_path / "odd.md").write_bytes(b"\xff")
    handbook = Handbook(tmp_path)
    with pytest.raises(Retryable):
        handbook.index()
    assert handbook.reading is not None
    wait([handbook.reading])
    with pytest.raises(UnicodeDecodeError):
        handbook.index()
    (tmp_path / "odd.md").write_text("# Odd\n\nNow it is text.")
    with pytest.raises(Retryable):
        handbook.index()
    wait([handbook.reading])
    assert handbook.index().search("text", 1)[0].id == "odd"


@pytest.mark.parametrize(
    ("question", "article"),
    [
        ("Boots are too small, can I exchange them for another size?", "exchange-a-size"),
        ("charged twice on my card", "payment-problems"),
        ("forgot my password", "reset-password"),
        ("my watch does not synchronise", "trail-app"),
        ("stove leaks gas", "warranty-and-repairs"),
        ("somebody logged into my account", "account-security"),
        ("How long does delivery to the islands take?", "delivery-times"),
    ],
)
def test_questions_lead_to_the_article_that_answers_them(question: str, article: str) -> None:
    found = _index().search(question, 3)
    assert found[0].id == article
    assert [each.score for each in found] == sorted((each.score for each in found), reverse=True)
    text = " ".join((DATA / "handbook" / f"{article}.md").read_text().split())
    assert found[0].excerpt.removesuffix(" …") in text


def test_nothing_is_found_for_words_that_no_article_has() -> None:
    assert _index().search("xylophone", 3) == []
    assert _index().search("", 3) == []
    with pytest.raises(InvalidInput, match="limit"):
        librarian.search("boots", limit=0)


def _index() -> Index:
    return Index({file.stem: file.read_text() for file in (DATA / "handbook").glob("*.md")})


@pytest.mark.parametrize(
    ("arrived", "due"),
    [
        ("2026-03-02T09:30:00Z", "2026-03-02T11:30:00+00:00"),  # Monday
        ("2026-03-02T06:00:00Z", "2026-03-02T11:00:00+00:00"),  # before work
        ("2026-03-06T16:30:00Z", "2026-03-09T10:30:00+00:00"),  # over the weekend
        ("2026-03-07T12:00:00Z", "2026-03-09T11:00:00+00:00"),  # on the weekend
        ("2026-03-02T17:00:00+02:00", "2026-03-03T11:00:00+02:00"),  # at closing time
    ],
)
def test_urgent_tickets_are_due_after_two_working_hours(arrived: str, due: str) -> None:
    escalation = composer.escalate("T-1", arrived, "billing", ["fraud"], "Stolen card.")
    assert escalation == {
        "team": "payments",
        "due": due,
        "note": "T-1 is urgent (fraud): Stolen card.",
    }


def test_work_longer_than_a_day_goes_on_the_next() -> None:
    friday = datetime.fromisoformat("2026-03-06T16:00:00Z")
    due = composer.after_working_time(friday, timedelta(hours=10))
    assert due.isoformat() == "2026-03-10T10:00:00+00:00"


def test_an_escalation_needs_a_known_topic_and_a_time() -> None:
    with pytest.raises(InvalidInput, match="topic"):
        composer.escalate("T-1", RECEIVED, "gardening", [], "")
    with pytest.raises(InvalidInput, match="received"):
        composer.escalate("T-1", "soon", "billing", [], "")


def test_a_reply_says_what_helps_and_who_cares() -> None:
    facts = composer.Facts(orders=["LF-1"], amounts=[composer.Amount(currency="EUR", value=1249.5)])
    articles = [composer.Article(title=f"Title {n}", excerpt=f"Excerpt {n}.") for n in range(3)]
    escalation = composer.Escalation(team="payments", due="2026-03-02T11:00:00+00:00", note="")
    reply = composer.compose("T-1", "Jo Fenn", "Help", articles, facts, escalation)
    assert reply["subject"] == "Re: Help [T-1]"
    assert reply["body"] == (
        "Dear Jo Fenn,\n\nthank you for your message about order LF-1 (1,249.50 EUR).\n"
        "Our payments team looks into it now and answers by 2 March, 11:00 UTC.\n\n"
        "Excerpt 0.\n\nMore is in our article “Title 0”.\n"
        "You may also want to read: Title 1; Title 2\n\n"
        "Your Larkfield Outdoor support team"
    )


def test_a_reply_without_an_article_promises_a_person() -> None:
    nothing = composer.Facts(orders=[], amounts=[])
    reply = composer.compose("T-1", "Jo", "Help", [], nothing)
    assert "thank you for your message.\n\nA colleague reads your message" in reply["body"]

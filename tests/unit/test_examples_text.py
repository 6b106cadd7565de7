from __future__ import annotations

import pytest

from brikk_agent import InvalidInput
from examples.agents import redactor, summarizer

LETTER = """Hello,
my e-mail is jo.fenn@example.com, my telephone +44 7700 900555. Order LF-123456.
Card 4111 1111 1111 1111, not 4111 1111 1111 1112. Account DE89 3704 0044 0532 0130 00, not
DE89 3704 0044 0532 0130 02. I live at 14 Larch Lane, Kendal.
Kind regards,
Jo Fenn"""


def test_personal_data_is_marked_and_counted() -> None:
    assert redactor.redact(LETTER) == {
        "text": """Hello,
my e-mail is [EMAIL], my telephone [PHONE]. Order LF-123456.
Card [CARD], not 4111 1111 1111 1112. Account [IBAN], not
DE89 3704 0044 0532 0130 02. I live at [ADDRESS].
Kind regards,
[NAME]""",
        "removed": {"EMAIL": 1, "IBAN": 1, "CARD": 1, "PHONE": 1, "ADDRESS": 1, "NAME": 1},
    }


def test_known_names_are_found_in_any_case_and_nothing_else() -> None:
    text = "ANA MAYR wrote. Ana Mayr's tent is red; Anatol's is not."
    assert redactor.redact(text, ["Ana Mayr", " "]) == {
        "text": "[NAME] wrote. [NAME]'s tent is red; Anatol's is not.",
        "removed": {"NAME": 2},
    }
    assert redactor.redact("", []) == {"text": "", "removed": {}}


def test_the_most_central_sentences_are_kept_in_order() -> None:
    text = (
        "Hello! The tent arrived with a broken tent pole. I was surprised. "
        "A tent with a broken pole cannot be pitched. It rained all week. "
        "Please send another pole for the tent. Kind regards"
    )
    summary = summarizer.summarize(text, sentences=2)
    assert summary["sentences"] == [
        "The tent arrived with a broken tent pole.",
        "A tent with a broken pole cannot be pitched.",
    ]
    assert summary["text"] == " ".join(summary["sentences"])
    assert 0 < summary["share"] < 1


@pytest.mark.parametrize("text", ["", "Hi", "Thanks!", "One sentence about a tent", "a\n\nb"])
def test_short_texts_are_their_own_summary(text: str) -> None:
    assert summarizer.summarize(text)["text"] == " ".join(text.split())


def test_no_sentences_at_all_cannot_be_asked_for() -> None:
    with pytest.raises(InvalidInput, match="sentences"):
        summarizer.summarize("a", sentences=0)

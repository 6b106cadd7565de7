"""The forms of a word meet in one stem, and different words do not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brikk_discovery.domain.words import words


@pytest.mark.parametrize(
    "forms",
    [
        "summary summaries summarize summarise summarizing summarization summarizer",
        "translate translates translated translating translation translator",
        "classify classifies classified classifying classification classifier",
        "extract extracting extraction extractor",
        "detect detects detection detector",
        "pay pays paid paying payment payments",
        "invoice invoices invoicing",
        "deliver delivered delivery deliveries",
        "convert converting conversion converter",
        "transcribe transcription transcriber",
        "analyze analysis analyst analytics",
        "plan plans planned planning planner",
        "cancel cancelled cancellation",
        "secure secured security",
        "box boxes",
        "match matches matching",
        "child children",
        "résumé resume resumes",
    ],
)
def test_forms_of_a_word_have_one_stem(forms: str) -> None:
    assert len(set(words(forms))) == 1


@pytest.mark.parametrize(
    "different",
    [
        "general generate",
        "new news",
        "data date",
        "string sing",
        "red read reed",
        "house horse",
        "test text",
        "image imagine",
        "contract contact",
    ],
)
def test_different_words_stay_apart(different: str) -> None:
    assert len(set(words(different))) == len(different.split())


def test_names_fall_apart_at_dots_underscores_and_hyphens() -> None:
    assert words("text.extract_entities pdf-tools") == words("text extract entities pdf tools")


def test_words_that_say_nothing_are_left_out() -> None:
    assert words("I want something that can do it for me, please!") == []


def test_case_accents_and_width_do_not_matter() -> None:
    assert words("Übersetzung CAFÉ \uff21\uff22\uff23\uff11") == words("ubersetzung cafe abc1")


def test_other_scripts_and_numbers_stay_as_they_are() -> None:
    assert words("перевод 2024 翻訳") == ["перевод", "2024", "翻訳"]


@given(st.text())
def test_any_text_is_taken(text: str) -> None:
    assert all(words(text))

"""Words as search compares them: without case, accents, endings, and those that say nothing."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Final

_FILLERS: Final = """
a about after all also am an and any are as at be because been before being but by can cannot
could d did do does doing don done for from get give go had has have having he help her here him
his how i if in into is it its just know let like ll m make may me might mine must my need no
nor not of off on one or our ours out please re s see shall she should show so some somebody
someone something such t tell than that the their them then there these they thing this those to
too up us use used using ve very want was way we were what when where which while who whom whose
why will with would you your yours
"""
# What questions are made of besides what is sought.
_STOP_WORDS: Final = frozenset(_FILLERS.split())
# Stems of words that no rule leads to.
_IRREGULAR: Final = {
    "analyses": "analyz",
    "analysis": "analyz",
    "analyst": "analyz",
    "analytics": "analyz",
    "bought": "buy",
    "children": "child",
    "drawn": "draw",
    "drew": "draw",
    "driven": "driv",
    "drove": "driv",
    "found": "find",
    "men": "man",
    "news": "news",
    "paid": "pay",
    "people": "person",
    "sent": "send",
    "sold": "sel",
    "spoke": "speak",
    "spoken": "speak",
    "taught": "teach",
    "taken": "tak",
    "took": "tak",
    "women": "woman",
    "written": "writ",
    "wrote": "writ",
}
# What is left of a word must be this long to tell it from others.
_SHORTEST_STEM: Final = 3

_WORD: Final = re.compile(r"[^\W_]+")
_VOWEL: Final = re.compile(r"[aeiouy]")
# In each step, the first ending that leaves a stem is replaced.
_STEPS: Final = (
    # Plurals.
    "ies:y sses:ss shes:sh ches:ch xes:x ss:ss us:us is:is s:",
    # Verbs.
    "ied:y eed:ee ing: ed:",
    # Who does it, what comes of it, what it is like: all that is made from a verb.
    "ization: isation: ification:if scription:scrib version:vert ition: ation:at ative:at ator:at "
    "tion:t sion:s tor:t izer: iser: ifier:if ement: ment: ness: fully: ful: ably: able: ibly: "
    "ible: ity: ery: ly: er:",
    # What the verb ends in.
    "ize: ise: ify:if ate: at: iz: is: e: y:",
)
_ENDINGS: Final = tuple(
    tuple(
        (ending, replacement) for ending, _, replacement in (rule.partition(":") for rule in step)
    )
    for step in (step.split() for step in _STEPS)
)


def words(text: str) -> list[str]:
    """Give the stems of a text's words in order, stop words left out.

    Whatever is no letter or digit parts words: capabilities fall apart at dots and underscores.
    """
    if not text.isascii():
        decomposed = unicodedata.normalize("NFKD", text)
        text = "".join(char for char in decomposed if not unicodedata.combining(char))
    found = _WORD.findall(text.casefold())
    return [stem for word in found if (stem := _stem(word))]


@lru_cache(maxsize=50_000)
def _stem(word: str) -> str:
    """Cut the ending off an English word, so that its forms meet; others may lose one as well.

    Of a stop word nothing is left.
    """
    if word in _STOP_WORDS:
        return ""
    if not word.isascii() or not word.isalpha():
        return word
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    for endings in _ENDINGS:
        for ending, replacement in endings:
            if word.endswith(ending) and _is_stem(rest := word[: -len(ending)]):
                word = rest + replacement
                break
    doubled = len(word) > _SHORTEST_STEM and word[-1] == word[-2]
    return word[:-1] if doubled else word


def _is_stem(rest: str) -> bool:
    return len(rest) >= _SHORTEST_STEM and _VOWEL.search(rest) is not None

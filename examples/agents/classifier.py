"""An agent that sorts support tickets: by topic with naive Bayes, by urgency with signs."""

from __future__ import annotations

import json
import math
import re
from collections import Counter, defaultdict
from functools import cache
from pathlib import Path
from typing import Literal, TypedDict

from brikk_agent import Agent, InvalidInput

DATA = Path(__file__).parents[1] / "data"

# What makes a ticket urgent, with its weight; a sign counts once however often it occurs.
SIGNS = {
    "safety": (r"smok\w+|fire|burn\w*|leaks?|gas|dangerous|very hot", 3),
    "legal": (r"lawyer|court|legal action", 3),
    "fraud": (r"fraud|stolen|do not recognise|did not place", 2),
    "pressed": (r"urgent(ly)?|immediately|at once", 2),
    "repeated": (r"third time|nobody answers|still no answer", 2),
    "deadline": (r"today|tomorrow", 1),
}
HIGH, NORMAL = 3, 1

agent = Agent("classifier", description="Sorts support tickets by topic and urgency")


class Classification(TypedDict):
    """A ticket's topic, how sure that is (0 to 1), its urgency, and the signs of that."""

    topic: str
    confidence: float
    urgency: Literal["low", "normal", "high"]
    signs: list[str]


@agent.capability("ticket.classify", tags=["support", "triage"])
def classify(subject: str, body: str) -> Classification:
    """Finds the topic and the urgency of a support ticket."""
    text = f"{subject}\n{body}"
    found = words(text)
    if not found:
        raise InvalidInput("body", "has no words to judge by")
    topic, confidence = Topics.learned().judge(found)
    signs = [
        sign
        for sign, (pattern, _) in SIGNS.items()
        if re.search(rf"\b({pattern})\b", text, re.IGNORECASE)
    ]
    weight = sum(SIGNS[sign][1] for sign in signs)
    return {
        "topic": topic,
        "confidence": round(confidence, 3),
        "urgency": "high" if weight >= HIGH else "normal" if weight >= NORMAL else "low",
        "signs": signs,
    }


class Topics:
    """Multinomial naive Bayes with Laplace smoothing over the words of labelled tickets."""

    def __init__(self, labelled: list[tuple[str, list[str]]]) -> None:
        counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for topic, found in labelled:
            counts[topic].update(found)
        vocabulary = len(set().union(*counts.values()))
        sizes = Counter(topic for topic, _ in labelled)
        self._counts = counts
        self._totals = {topic: each.total() + vocabulary for topic, each in counts.items()}
        self._priors = {topic: math.log(size / len(labelled)) for topic, size in sizes.items()}

    @classmethod
    @cache
    def learned(cls) -> Topics:
        """The topics as learned from the labelled tickets, once per process."""
        rows = map(
            json.loads, (DATA / "labelled_tickets.jsonl").read_text(encoding="utf-8").splitlines()
        )
        return cls([(row["topic"], words(row["text"])) for row in rows])

    def judge(self, found: list[str]) -> tuple[str, float]:
        """Returns the likeliest topic and its probability."""
        scores = {
            topic: prior
            + sum(math.log((self._counts[topic][word] + 1) / self._totals[topic]) for word in found)
            for topic, prior in self._priors.items()
        }
        best = max(scores, key=scores.__getitem__)
        return best, 1 / sum(math.exp(score - scores[best]) for score in scores.values())


def words(text: str) -> list[str]:
    """The words that may tell topics apart, without endings that only inflect them."""
    found = re.findall(r"[a-z]{3,}", text.lower())
    return [re.sub(r"(?<=\w{3})(ing|ed|es|s)$", "", word) for word in found if word not in common()]


@cache
def common() -> frozenset[str]:
    """The words that every topic uses."""
    return frozenset((DATA / "common_words.txt").read_text(encoding="utf-8").split())


if __name__ == "__main__":
    agent.run()

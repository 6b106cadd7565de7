"""An agent that shortens a text to its most central sentences, by TextRank (Mihalcea, 2004)."""

from __future__ import annotations

import math
import operator
import re
from typing import TypedDict

from brikk_agent import Agent, InvalidInput

DAMPING, ROUNDS = 0.85, 30
# Greetings and closings say nothing about the matter, and a sentence of two words rarely does.
FORMALITIES = re.compile(
    r"(hi|hello|dear|good morning|(kind |best )?(regards|wishes)|thanks?)\b", re.IGNORECASE
)
SHORTEST = 3

agent = Agent("summarizer", description="Shortens texts to their most central sentences")


class Summary(TypedDict):
    """The chosen sentences in the order of the text, and the share of it (0 to 1) that they are."""

    text: str
    sentences: list[str]
    share: float


@agent.capability("text.summarize", tags=["text"])
def summarize(text: str, sentences: int = 2) -> Summary:
    """Chooses the sentences that most others have words in common with."""
    if sentences < 1:
        raise InvalidInput("sentences", "must be at least 1")
    found = split(text)
    ranks = rank([frozenset(words(sentence)) for sentence in found])
    best = sorted(range(len(found)), key=lambda index: (-ranks[index], index))[:sentences]
    chosen = [found[index] for index in sorted(best)]
    share = sum(map(len, chosen)) / max(1, sum(map(len, found)))
    return {"text": " ".join(chosen), "sentences": chosen, "share": round(share, 3)}


def split(text: str) -> list[str]:
    """The sentences of a text that say something; all of it when none seems to."""
    pieces = [piece.strip() for piece in re.split(r"(?<=[.!?])\s+|\n+", text)]
    telling = [
        piece for piece in pieces if len(words(piece)) >= SHORTEST and not FORMALITIES.match(piece)
    ]
    return telling or [piece for piece in pieces if piece]


def rank(sentences: list[frozenset[str]]) -> list[float]:
    """How central each sentence is: a random walk along shared words comes by that often."""
    weights = [[likeness(one, other) for other in sentences] for one in sentences]
    totals = [sum(row) or 1.0 for row in weights]
    ranks = [1.0] * len(sentences)
    for _ in range(ROUNDS):
        shares = [rank / total for rank, total in zip(ranks, totals, strict=True)]
        ranks = [
            1 - DAMPING + DAMPING * sum(map(operator.mul, shares, column))
            for column in zip(*weights, strict=True)
        ]
    return ranks


def likeness(one: frozenset[str], other: frozenset[str]) -> float:
    """The words in common, measured against the lengths; a sentence is not like itself."""
    if one == other:
        return 0.0
    return len(one & other) / (math.log(1 + len(one)) + math.log(1 + len(other)) or 1.0)


def words(text: str) -> list[str]:
    """The words of a text in lower case, without the short ones that hold sentences together."""
    return re.findall(r"\w{4,}", text.lower())


if __name__ == "__main__":
    agent.run()

"""An agent that searches a handbook with BM25, and asks to be called again until it has read it."""

from __future__ import annotations

import math
import re
import threading
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from brikk_agent import Agent, InvalidInput, Retryable

DATA = Path(__file__).parents[1] / "data"
# The usual parameters of BM25: how soon repetition stops to count, and how much length does.
SATURATION, LENGTH_WEIGHT = 1.2, 0.75
# An article that matches less than half as well as the best is about something else.
RELEVANT = 0.5
EXCERPT = 300

agent = Agent("librarian", description="Searches the handbook of the support team")


@dataclass(frozen=True, kw_only=True)
class Article:
    """An article that may answer the question; the excerpt is its best paragraph."""

    id: str
    title: str
    score: float
    excerpt: str


@dataclass(frozen=True, kw_only=True)
class Found:
    """The articles that match, best first."""

    articles: list[Article]


@agent.capability("handbook.search", tags=["support", "search"])
def search(query: str, limit: int = 3) -> Found:
    """Finds the handbook's articles about a question.

    The first call makes the agent read the handbook; until it has, calls are answered with the
    retryable reason WARMING_UP instead of being kept waiting.
    """
    if limit < 1:
        raise InvalidInput("limit", "must be at least 1")
    return Found(articles=handbook.index().search(query, limit))


class Index:
    """Articles by their words, ranked by BM25 (Robertson and Zaragoza, 2009)."""

    def __init__(self, articles: dict[str, str]) -> None:
        self._articles = articles
        self._words = {name: Counter(words(text)) for name, text in articles.items()}
        self._mean = sum(each.total() for each in self._words.values()) / len(articles)
        containing = Counter(word for each in self._words.values() for word in each)
        self._rarity = {
            word: math.log(1 + (len(articles) - count + 0.5) / (count + 0.5))
            for word, count in containing.items()
        }

    def search(self, query: str, limit: int) -> list[Article]:
        """Returns the best articles that share a word with the query."""
        wanted = set(words(query))
        scores = {name: self._score(wanted, counts) for name, counts in self._words.items()}
        best = sorted(scores, key=lambda name: (-scores[name], name))[:limit]
        enough = max(scores[best[0]] * RELEVANT, 1e-9)
        return [
            self._article(name, scores[name], wanted) for name in best if scores[name] >= enough
        ]

    def _score(self, wanted: Iterable[str], counts: Counter[str]) -> float:
        length = 1 - LENGTH_WEIGHT + LENGTH_WEIGHT * counts.total() / self._mean
        return sum(
            self._rarity[word]
            * counts[word]
            * (SATURATION + 1)
            / (counts[word] + SATURATION * length)
            for word in wanted
            if word in counts
        )

    def _article(self, name: str, score: float, wanted: set[str]) -> Article:
        title, *paragraphs = self._articles[name].split("\n\n")
        closest = max(paragraphs, key=lambda text: len(wanted.intersection(words(text))))
        excerpt = " ".join(closest.split())
        if len(excerpt) > EXCERPT:
            excerpt = excerpt[:EXCERPT].rpartition(" ")[0] + " …"
        return Article(
            id=name, title=title.removeprefix("# "), score=round(score, 3), excerpt=excerpt
        )


class Handbook:
    """The index of a folder, made in the background from the first time that it is wanted."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="reader")
        self._lock = threading.Lock()
        self.reading: Future[Index] | None = None

    def index(self) -> Index:
        """Returns the index; raises Retryable while it is being made."""
        with self._lock:
            reading = self.reading
            if reading is None:
                self.reading = self._reader.submit(self._read)
            elif reading.done() and reading.exception() is not None:
                self.reading = None  # the next attempt reads again
        if reading is None or not reading.done():
            raise Retryable("WARMING_UP", "The index of the handbook is being made")
        return reading.result()

    def _read(self) -> Index:
        files = self._folder.glob("*.md")
        return Index({file.stem: file.read_text(encoding="utf-8") for file in files})


def words(text: str) -> list[str]:
    """The words of a text that say what it is about, without endings that only inflect them."""
    found = re.findall(r"[a-z]{3,}", text.lower())
    return [re.sub(r"(?<=\w{3})(ing|ed|es|s)$", "", word) for word in found if word not in common()]


@cache
def common() -> frozenset[str]:
    """The words that every article uses."""
    return frozenset((DATA / "common_words.txt").read_text(encoding="utf-8").split())


handbook = Handbook(DATA / "handbook")

if __name__ == "__main__":
    agent.run()

"""An agent that takes personal data out of a text before anybody else reads it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import TypedDict

from brikk_agent import Agent

EMAIL = re.compile(r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+\b")
IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b")
CARD = re.compile(r"\b\d(?:[ -]?\d){12,18}\b")
PHONE = re.compile(r"\+\d(?:[ -]?\d){7,14}\b")
STREET = re.compile(
    r"\b\d{1,4} (?:[A-Z][a-z]+ ){1,3}"
    r"(?:Street|Road|Lane|Avenue|Square|Way|Drive)(?:, [A-Z][a-z]+)?\b"
)
CLOSING = re.compile(
    r"(?:regards|wishes|thanks|sincerely|thank you),?\s+(?P<name>[A-Z]\w+(?: [A-Z]\w+){0,2})", re.I
)

agent = Agent("redactor", description="Takes personal data out of texts")


class Redacted(TypedDict):
    """The text with marks such as [EMAIL], and how many there are of each kind."""

    text: str
    removed: dict[str, int]


@agent.capability("text.redact", tags=["privacy"])
def redact(text: str, names: list[str] | None = None) -> Redacted:
    """Replaces e-mail addresses, telephones, cards, bank accounts, streets and names by marks.

    Numbers count as cards and bank accounts only when their check digits are right, so order
    numbers stay. `names` are people known to be meant; those who sign the text are found.
    """
    removed: Counter[str] = Counter()

    def replace(kind: str, pattern: re.Pattern[str], valid: Callable[[str], bool]) -> None:
        nonlocal text

        def mark(match: re.Match[str]) -> str:
            if not valid(match[0]):
                return match[0]
            removed[kind] += 1
            return f"[{kind}]"

        text = pattern.sub(mark, text)

    # Before the marks stand in the text: they would look like parts of names.
    people = [*(names or []), *(match["name"] for match in CLOSING.finditer(text))]
    replace("EMAIL", EMAIL, lambda _: True)
    replace("IBAN", IBAN, is_iban)
    replace("CARD", CARD, is_card)
    replace("PHONE", PHONE, lambda _: True)
    replace("ADDRESS", STREET, lambda _: True)
    for name in sorted({person for person in people if person.strip()}, key=len, reverse=True):
        replace("NAME", re.compile(rf"\b{re.escape(name)}\b", re.I), lambda _: True)
    return {"text": text, "removed": dict(removed)}


def is_card(text: str) -> bool:
    """Whether the digits pass the Luhn check that payment cards carry (ISO/IEC 7812-1)."""
    digits = [int(character) for character in text if character.isdigit()]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def is_iban(text: str) -> bool:
    """Whether the characters pass the remainder check of bank account numbers (ISO 13616)."""
    compact = text.replace(" ", "")
    return int("".join(str(int(each, 36)) for each in compact[4:] + compact[:4])) % 97 == 1


if __name__ == "__main__":
    agent.run()

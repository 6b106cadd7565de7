"""An agent that finds the facts in a ticket: order numbers, amounts, dates, e-mails, telephones."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TypeVar

from brikk_agent import Agent, InvalidInput

T = TypeVar("T")

ORDER = re.compile(r"\bLF-\d{6}\b")
EMAIL = re.compile(r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+\b")
PHONE = re.compile(r"\+\d(?:[ -]?\d){7,14}\b")
AMOUNT = re.compile(r"\b(\d{1,3}(?:,\d{3})+|\d+)\.(\d{2}) ?(EUR|GBP|USD|CHF)\b")
MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
ISO_DATE = re.compile(r"\b(?P<year>\d{4})-(?P<month>\d{2})-(?P<day>\d{2})\b")
DOTTED_DATE = re.compile(r"\b(?P<day>\d{1,2})\.(?P<month>\d{1,2})\.(?P<year>\d{4})\b")
WRITTEN_DATE = re.compile(
    rf"\b(?P<day>\d{{1,2}}) (?P<month>{'|'.join(MONTHS)})(?: (?P<year>\d{{4}}))?\b", re.I
)
RELATIVE_DATE = re.compile(r"\b(today|tomorrow|yesterday|last night)\b", re.I)
DAYS_FROM_NOW = {"yesterday": -1, "last night": -1, "today": 0, "tomorrow": 1}

agent = Agent("extractor", description="Finds the facts in support tickets")


@dataclass(frozen=True, kw_only=True)
class Amount:
    """A sum of money; `value` in the currency's main unit."""

    currency: str
    value: float


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a text mentions, each once, in the order of the text; dates as YYYY-MM-DD, sorted."""

    orders: list[str]
    amounts: list[Amount]
    dates: list[str]
    emails: list[str]
    phones: list[str]


@agent.capability("ticket.extract", tags=["support", "facts"])
def extract(text: str, received: str) -> Facts:
    """Finds order numbers, amounts, dates, e-mail addresses and telephone numbers in a text.

    `received` is when the text was written (ISO 8601): dates such as "yesterday" or "6 March" are
    completed by it.
    """
    try:
        written = datetime.fromisoformat(received).date()
    except ValueError:
        raise InvalidInput("received", "is not an ISO 8601 date and time") from None
    return Facts(
        orders=once(ORDER.findall(text)),
        amounts=[
            Amount(currency=currency, value=float(f"{whole.replace(',', '')}.{cents}"))
            for whole, cents, currency in once(AMOUNT.findall(text))
        ],
        dates=sorted(once(day.isoformat() for day in dates(text, written))),
        emails=once(EMAIL.findall(text)),
        phones=once(re.sub(r"[ -]", "", phone) for phone in PHONE.findall(text)),
    )


def dates(text: str, written: date) -> Iterable[date]:
    """Yields the days that a text names; what looks like a date and is none is passed over."""
    for pattern in (ISO_DATE, DOTTED_DATE, WRITTEN_DATE):
        for match in pattern.finditer(text):
            month = match["month"].lower()
            number = MONTHS.index(month) + 1 if month in MONTHS else int(month)
            try:
                day = date(int(match["year"] or written.year), number, int(match["day"]))
            except ValueError:
                continue
            # In January, "28 December" was last month.
            if match["year"] is None and day - written > timedelta(days=182):
                day = day.replace(year=day.year - 1)
            yield day
    for match in RELATIVE_DATE.finditer(text):
        yield written + timedelta(days=DAYS_FROM_NOW[match[1].lower()])


def once(items: Iterable[T]) -> list[T]:
    """The items without repetitions, in their order."""
    return list(dict.fromkeys(items))


if __name__ == "__main__":
    agent.run()

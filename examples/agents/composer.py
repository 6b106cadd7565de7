"""An agent that drafts what the support team sends: replies to customers, notes to colleagues."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import TypedDict

from brikk_agent import Agent, InvalidInput

TEAMS = {
    "account": "security",
    "billing": "payments",
    "delivery": "logistics",
    "returns": "warehouse",
    "technical": "product safety",
}
OPENS, CLOSES = time(9), time(17)
FIRST_ANSWER = timedelta(hours=2)
SATURDAY = 5

agent = Agent("composer", description="Drafts replies to customers and notes to colleagues")


class Escalation(TypedDict):
    """Who takes care of an urgent ticket until when (ISO 8601), and what they are told."""

    team: str
    due: str
    note: str


@dataclass(frozen=True, kw_only=True)
class Article:
    """An article of the handbook, as handbook.search finds it."""

    title: str
    excerpt: str


@dataclass(frozen=True, kw_only=True)
class Amount:
    """A sum of money, as ticket.extract finds it."""

    currency: str
    value: float


@dataclass(frozen=True, kw_only=True)
class Facts:
    """The facts of a ticket that a reply refers to, as ticket.extract finds them."""

    orders: list[str]
    amounts: list[Amount]


class Reply(TypedDict):
    """A draft for a person to check."""

    subject: str
    body: str


@agent.capability("ticket.escalate", tags=["support", "triage"])
def escalate(ticket: str, received: str, topic: str, signs: list[str], summary: str) -> Escalation:
    """Decides which team takes an urgent ticket, and by when: two working hours after it came."""
    try:
        arrived = datetime.fromisoformat(received)
    except ValueError:
        raise InvalidInput("received", "is not an ISO 8601 date and time") from None
    if topic not in TEAMS:
        raise InvalidInput("topic", f"must be one of {', '.join(TEAMS)}")
    due = after_working_time(arrived, FIRST_ANSWER)
    return {
        "team": TEAMS[topic],
        "due": due.isoformat(),
        "note": f"{ticket} is urgent ({', '.join(signs)}): {summary}",
    }


@agent.capability("reply.compose", tags=["support", "text"])
def compose(
    ticket: str,
    customer: str,
    subject: str,
    articles: list[Article],
    facts: Facts,
    escalation: Escalation | None = None,
) -> Reply:
    """Drafts a reply from what the handbook says and what the ticket is about."""
    lines = [f"Dear {customer},", "", f"thank you for your message{reference(facts)}."]
    if escalation is not None:
        due = datetime.fromisoformat(escalation["due"])
        lines.append(
            f"Our {escalation['team']} team looks into it now and answers by "
            f"{due.day} {due:%B, %H:%M %Z}."
        )
    if articles:
        best, *others = articles
        lines += ["", best.excerpt, "", f"More is in our article “{best.title}”."]
        if others:
            lines.append("You may also want to read: " + "; ".join(each.title for each in others))
    elif escalation is None:
        lines += ["", "A colleague reads your message and answers within one working day."]
    lines += ["", "Your Larkfield Outdoor support team"]
    return {"subject": f"Re: {subject} [{ticket}]", "body": "\n".join(lines)}


def reference(facts: Facts) -> str:
    """Says what a message is about, as far as it named it."""
    orders = f" about order {', '.join(facts.orders)}" if facts.orders else ""
    amounts = ", ".join(f"{each.value:,.2f} {each.currency}" for each in facts.amounts)
    return f"{orders} ({amounts})" if amounts else orders


def after_working_time(start: datetime, duration: timedelta) -> datetime:
    """When so much working time (Monday to Friday, 9 to 17, in the time zone of start) is over."""
    moment = start
    while True:
        closes = datetime.combine(moment.date(), CLOSES, moment.tzinfo)
        opens = datetime.combine(moment.date(), OPENS, moment.tzinfo)
        if moment.weekday() < SATURDAY and moment < closes:
            moment = max(moment, opens)
            if moment + duration <= closes:
                return moment + duration
            duration -= closes - moment
        moment = opens + timedelta(days=1)


if __name__ == "__main__":
    agent.run()

"""Whom a step waits for: agents with a capability, and what else they must be."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple


class Ask(NamedTuple):
    """What must be there: so many agents with a capability and matching labels, or one by name."""

    capability: str
    selector: str = ""
    agent: str = ""
    least: int = 1


def write_ask(ask: Ask) -> str:
    """Return it as one text, by which waits are kept: the capability, if that is all."""
    if ask == Ask(ask.capability):
        return ask.capability
    return f"{ask.capability} {ask.least} {ask.agent or '-'} {ask.selector}"


@lru_cache(maxsize=10_000)
def read_ask(text: str) -> Ask:
    """Return what `write_ask` was given."""
    capability, _, narrowed = text.partition(" ")
    if not narrowed:
        return Ask(capability)
    least, agent, selector = narrowed.split(" ", 2)
    return Ask(capability, selector, agent if agent != "-" else "", int(least))

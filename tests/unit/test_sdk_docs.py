"""The agent that docs/agents.md shows works as it says."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from brikk_agent import Context, Retryable, Usage

BLOCKS = re.findall(
    r"```python\n(.*?)```", (Path(__file__).parents[2] / "docs" / "agents.md").read_text(), re.S
)
[AGENT] = [each for each in BLOCKS if "context.use" in each]
[LOADING] = [each for each in BLOCKS if "agent.ready" in each]


@dataclass
class Answer:
    text: str
    tokens: int = 5
    cut_off: bool = False


class Model:
    def __init__(self) -> None:
        self.loaded = False

    def ask(self, prompt: str) -> Answer:
        return Answer(text=prompt.upper(), cut_off="long" in prompt)

    def load(self) -> None:
        self.loaded = True


@pytest.fixture
def translate() -> Callable[..., Any]:
    names: dict[str, Any] = {"model": Model()}
    exec(AGENT, names)
    handler: Callable[..., Any] = names["translate"]
    return handler


def test_its_agent_answers_and_tells_what_it_used(translate: Callable[..., Any]) -> None:
    context = Context()
    output = translate(pages=["one", "two"], into="French", context=context)
    assert output["pages"][1] == "TRANSLATE INTO FRENCH: TWO"
    assert context.usage == Usage(tokens=10, cost_micros=30, model="polyglot-2")


def test_its_agent_fails_as_shown(translate: Callable[..., Any]) -> None:
    context = Context()
    with pytest.raises(Retryable, match="room"):
        translate(pages=["a long one"], into="French", context=context)
    assert context.usage.tokens == 5


async def test_an_agent_that_loads_is_ready_afterwards() -> None:
    class Agent:
        ready = True

        async def serve(self) -> None:
            pass

    names: dict[str, Any] = {"model": Model(), "agent": Agent(), "asyncio": asyncio}
    exec(LOADING, names)
    main = asyncio.create_task(names["main"]())
    await asyncio.sleep(0)
    assert not names["agent"].ready
    await main
    assert names["agent"].ready
    assert names["model"].loaded

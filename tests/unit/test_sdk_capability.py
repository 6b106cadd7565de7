from __future__ import annotations

from typing import TypedDict

import pytest

from brikk_agent import Agent, Context, InvalidInput
from brikk_agent.capability import Capability, Handler, Offer
from brikk_agent.structs import Json, from_struct


class Summary(TypedDict):
    text: str


def of(handler: Handler, name: str = "text.summarize") -> Capability:
    return Capability.of(name, handler, Offer(tags=["text"]))


def summarize(text: str, sentences: int = 3, *, call: Context | None = None) -> Summary:
    """Shortens a text
    to its main sentences.

    The rest is for people who read code.
    """
    return {"text": f"{text[:sentences]}{call.attempt if call else ''}"}


def test_a_capability_is_described_by_its_handler() -> None:
    described = of(summarize).describe()
    assert described.capability == "text.summarize"
    assert described.description == "Shortens a text to its main sentences."
    assert described.tags == ["text"]
    assert from_struct(described.input_schema) == {
        "type": "object",
        "properties": {"text": {"type": "string"}, "sentences": {"type": "integer"}},
        "additionalProperties": False,
        "required": ["text"],
    }
    assert from_struct(described.output_schema) == {
        "type": "object",
        "properties": {"text": {"type": "string"}},
        "required": ["text"],
    }


def test_arguments_are_bound_by_name_and_the_context_is_added() -> None:
    context = Context(attempt=2)
    arguments = of(summarize).arguments({"text": "abc", "sentences": 2.0}, context)
    assert arguments == {"text": "abc", "sentences": 2, "call": context}
    with pytest.raises(InvalidInput, match="text: is required"):
        of(summarize).arguments({}, context)
    with pytest.raises(InvalidInput, match="lang: is not known here"):
        of(summarize).arguments({"text": "", "lang": "en"}, context)
    with pytest.raises(InvalidInput, match="call: is not known here"):
        of(summarize).arguments({"text": "", "call": None}, context)


def test_an_untyped_handler_takes_and_gives_anything() -> None:
    def anything(value, other=None):  # type: ignore[no-untyped-def]
        return {"value": value}

    capability = of(anything)
    assert capability.arguments({"value": [1.0]}, Context()) == {"value": [1.0]}
    assert not capability.describe().HasField("output_schema")


def test_schemas_may_say_more_than_the_signature() -> None:
    def shout(text: str) -> dict[str, str]:
        return {"text": text.upper()}

    short: dict[str, Json] = {"properties": {"text": {"maxLength": 80}}}
    offer = Offer(input_schema=short, output_schema={"required": ["text"]})
    described = Capability.of("text.shout", shout, offer).describe()
    assert from_struct(described.input_schema) == short
    assert from_struct(described.output_schema) == {"required": ["text"]}


def test_signatures_that_cannot_be_called_by_name_are_refused() -> None:
    def positional(text: str, /) -> dict[str, str]:
        return {}

    def variadic(*texts: str) -> dict[str, str]:
        return {}

    def bare(text: str) -> str:
        return text

    def odd(when: complex) -> dict[str, str]:
        return {}

    for handler, problem in (
        (positional, "parameter 'text' cannot be passed by name"),
        (variadic, "parameter 'texts' cannot be passed by name"),
        (bare, "return type: must be a dict, a dataclass or a TypedDict"),
        (odd, "parameter 'when': complex has no counterpart in JSON"),
    ):
        with pytest.raises(TypeError, match=problem):
            of(handler)


@pytest.mark.parametrize("name", ["", "Text", "text.", "text-x", "9", "a" * 129])
def test_odd_capability_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is no capability"):
        of(summarize, name)


def test_a_decorated_function_stays_what_it_is_and_has_one_handler_per_name() -> None:
    agent = Agent("summarizer")
    assert agent.capability("text.summarize")(summarize) is summarize
    with pytest.raises(ValueError, match="has a handler already"):
        agent.capability("text.summarize")(summarize)


@pytest.mark.parametrize("name", ["", "Summarizer", "a_b", "a-", "a" * 55])
def test_odd_agent_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is no agent name"):
        Agent(name)


def test_an_agent_takes_at_least_one_call() -> None:
    with pytest.raises(ValueError, match="at least one call"):
        Agent("summarizer", capacity=0)
    assert Agent("summarizer", agent_id="summarizer-1").name == "agents/summarizer-1"
    assert Agent("summarizer").name != Agent("summarizer").name

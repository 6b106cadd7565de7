"""A capability: a handler, and what its signature promises about input and output."""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Union, get_args, get_origin, get_type_hints

from brikk.discovery.v1 import agent_pb2
from brikk_agent.context import Context
from brikk_agent.shapes import Field, Shape, record, shape_of
from brikk_agent.structs import Json, to_struct

Handler = Callable[..., object]

_NAME = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*")
_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What an agent says of a capability beside its name and signature.

    `version` as PEP 440 orders versions, `examples` what people ask of it in their words,
    `cost_micros` the price of a call in millionths of the currency that the organisation counts in,
    `latency` how long a typical call takes. The schemas are JSON Schemas that say more than the
    signature does; callers check by them what they send, and what they get.
    """

    description: str = ""
    tags: Sequence[str] = ()
    version: str = ""
    examples: Sequence[str] = ()
    cost_micros: int = 0
    latency: timedelta | None = None
    input_schema: Mapping[str, Json] | None = None
    output_schema: Mapping[str, Json] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Capability:
    """One thing an agent can do."""

    name: str
    offer: Offer
    handler: Handler
    is_async: bool
    input: Shape
    output_schema: Mapping[str, Json]
    context_parameter: str | None

    @classmethod
    def of(cls, name: str, handler: Handler, offer: Offer) -> Capability:
        """Derives a capability from a handler's signature.

        Parameters become members of the input, by name; the return type becomes the output schema.
        Raises ValueError for a name that is not dotted lower case, and TypeError for a signature
        that cannot be expressed in JSON.
        """
        if not _NAME.fullmatch(name) or len(name) > 128:
            raise ValueError(f"{name!r} is no capability; write it like 'text.summarize'")
        hints = get_type_hints(handler)
        members, context_parameter = members_of(handler, name)
        return cls(
            name=name,
            offer=offer if offer.description else replace(offer, description=_summary(handler)),
            handler=handler,
            is_async=inspect.iscoroutinefunction(handler),
            input=record(members, closed=True),
            output_schema=_output_schema(hints.get("return", inspect.Parameter.empty), name),
            context_parameter=context_parameter,
        )

    def arguments(self, given: dict[str, Json], context: Context) -> dict[str, object]:
        """Binds an input to the handler's parameters; raises InvalidInput."""
        arguments = self.input.read(given, "")
        assert isinstance(arguments, dict)
        if self.context_parameter is not None:
            arguments[self.context_parameter] = context
        return arguments

    def describe(self) -> agent_pb2.AgentCapability:
        """The capability as it is registered."""
        offer = self.offer
        message = agent_pb2.AgentCapability(
            capability=self.name,
            description=offer.description,
            tags=offer.tags,
            version=offer.version,
            examples=offer.examples,
            cost_micros=offer.cost_micros,
        )
        if offer.latency is not None:
            message.latency.FromTimedelta(offer.latency)
        taken = self.input.schema if offer.input_schema is None else offer.input_schema
        message.input_schema.CopyFrom(to_struct(taken, name="input_schema"))
        answered = self.output_schema if offer.output_schema is None else offer.output_schema
        if answered:
            message.output_schema.CopyFrom(to_struct(answered, name="output_schema"))
        return message


def members_of(handler: Handler, name: str) -> tuple[dict[str, Field], str | None]:
    """Derives the members of an input from a handler's parameters, and which one takes the call.

    `name` stands in the text of a TypeError, for a signature that JSON cannot express.
    """
    hints = get_type_hints(handler)
    members: dict[str, Field] = {}
    context_parameter = None
    for parameter in inspect.signature(handler).parameters.values():
        where = f"{name}: parameter {parameter.name!r}"
        if parameter.kind not in _BY_NAME:
            raise TypeError(f"{where} cannot be passed by name")
        hint = hints.get(parameter.name, inspect.Parameter.empty)
        if _is_context(hint):
            context_parameter = parameter.name
            continue
        members[parameter.name] = Field(
            shape=_shape(hint, where), required=parameter.default is inspect.Parameter.empty
        )
    return members, context_parameter


def _summary(handler: Handler) -> str:
    first_paragraph = (inspect.getdoc(handler) or "").partition("\n\n")[0]
    return " ".join(first_paragraph.split())


def _is_context(hint: object) -> bool:
    if get_origin(hint) in (Union, types.UnionType):
        return Context in get_args(hint)
    return hint is Context


def _shape(hint: object, where: str) -> Shape:
    try:
        return shape_of(hint)
    except TypeError as error:
        raise TypeError(f"{where}: {error}") from None


def _output_schema(hint: object, name: str) -> dict[str, Json]:
    schema = _shape(hint, f"{name}: return type").schema
    if schema and schema.get("type") != "object":
        raise TypeError(f"{name}: return type: must be a dict, a dataclass or a TypedDict")
    return schema

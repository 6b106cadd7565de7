"""Schemas of capabilities: checked at registration, told to those who choose."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from brikk.discovery.v1 import agent_pb2
from brikk.discovery.v1 import discovery_service_pb2 as pb
from brikk_shared.errors import FieldViolation, Reason
from brikk_shared.structs import Json, to_struct
from brikk_shared.testing import Tokens
from support.discovery import TIMEOUT, Caller, agent, registration, serving
from support.refusals import refused
from support.watching import watching

TEXT: dict[str, Json] = {"type": "object", "properties": {"text": {"type": "string"}}}
WRITTEN = '{"properties":{"text":{"type":"string"}},"type":"object"}'


@pytest.fixture
async def caller(database_url: str, tmp_path: Path) -> AsyncIterator[Caller]:
    async with serving(database_url, Tokens(tmp_path)) as service:
        yield service.caller()


def writer(**schemas: dict[str, Json]) -> agent_pb2.Agent:
    """An agent that writes, with schemas of its input or output."""
    message = agent("text.write")
    for name, schema in schemas.items():
        getattr(message.services[0].capabilities[0], name).CopyFrom(to_struct(schema))
    return message


async def test_schemas_that_callers_would_not_accept_are_refused(caller: Caller) -> None:
    wrong: dict[str, Json] = {"properties": {"a": {"type": "objekt"}, "b": {"pattern": "(?=x)"}}}
    error = await refused(
        caller.send(
            registration(
                "writer",
                writer(input_schema=wrong, output_schema={"$ref": "https://example.com/schema"}),
            )
        )
    )
    assert error.reason is Reason.INVALID_FIELD
    at = "agent.services[0].capabilities[0]"
    assert list(error.violations) == [
        FieldViolation(
            f"{at}.input_schema.properties.a.type",
            "is no JSON Schema: 'objekt' is not valid under any of the given schemas",
        ),
        FieldViolation(
            f"{at}.output_schema.$ref",
            "leads out of the schema: nothing is fetched; use `$defs`",
        ),
    ]


async def test_the_schemas_of_an_agent_are_bounded_together(caller: Caller) -> None:
    message = agent(*(f"text.c{number}" for number in range(10)))
    for number, item in enumerate(message.services[0].capabilities):
        item.input_schema.CopyFrom(to_struct({"description": f"{number}" * 20_000}))
    error = await refused(caller.send(registration("writer", message)))
    assert [each.field for each in error.violations] == ["agent.services"]
    assert "must have schemas of at most 131072 bytes together" in error.message
    for item in message.services[0].capabilities:  # the same counts once
        item.input_schema.CopyFrom(to_struct({"description": "x" * 20_000}))
    await caller.send(registration("writer", message))


async def test_contracts_are_told_before_the_candidates_that_name_them(caller: Caller) -> None:
    await caller.send(registration("writer", writer(input_schema=TEXT)))
    await caller.register("free")
    async with watching(caller) as watch:
        told = await watch.whole()
        key = ("agents/writer", "text.write")
        contract = told.contracts[told.candidates[key].contract]
        assert (contract.input_schema, contract.output_schema) == (WRITTEN, "")
        assert told.candidates["agents/free", "text.write"].contract == ""
        await caller.send(registration("writer", writer(output_schema=TEXT)))
        await watch.until(lambda told: told.candidates[key].contract != contract.id)
        contract = told.contracts[told.candidates[key].contract]
        assert (contract.input_schema, contract.output_schema) == ("", WRITTEN)


async def test_answers_hold_contracts_when_they_are_asked_for(caller: Caller) -> None:
    for name in ("a", "b"):
        await caller.send(registration(name, writer(input_schema=TEXT)))

    async def ask(*, with_contracts: bool) -> pb.ResolveCapabilityResponse:
        request = pb.ResolveCapabilityRequest(
            capability="text.write", with_contracts=with_contracts
        )
        return await caller.stub.ResolveCapability(
            request, metadata=caller.metadata, timeout=TIMEOUT
        )

    plain, full = await ask(with_contracts=False), await ask(with_contracts=True)
    assert list(plain.candidates) == list(full.candidates)
    assert list(plain.contracts) == []
    [contract] = full.contracts
    assert contract.input_schema == WRITTEN
    assert {each.contract for each in full.candidates} == {contract.id}

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import grpc
import pytest
import yaml
from jsonschema import Draft202012Validator

from brikk.discovery.v1.agent_pb2 import Agent, AgentCapability
from brikk_agent.structs import Json, from_struct
from brikk_workflow.domain.expression import compile_expression
from brikk_workflow.domain.scope import Scope
from brikk_workflow.domain.source import read_yaml
from brikk_workflow.domain.template import compile_template
from support.agents import CallKeys, ScriptedRegistry, error_info, execute, served

EXAMPLES = Path(__file__).parents[2] / "examples"
PROGRAMS = sorted((EXAMPLES / "agents").glob("*.py"))


class Desk:
    """The registered agents, called as the workflow service would, and what they declared."""

    def __init__(self, agents: list[Agent], keys: CallKeys) -> None:
        self._keys = keys
        self.offers: dict[str, tuple[Agent, AgentCapability]] = {
            capability.capability: (agent, capability)
            for agent in agents
            for service in agent.services
            for capability in service.capabilities
        }
        self.reasons: list[str] = []

    async def call(self, capability: str, given: dict[str, Json]) -> dict[str, Json]:
        """Calls until it succeeds; what goes in and comes out must match the schemas."""
        agent, declared = self.offers[capability]
        Draft202012Validator(from_struct(declared.input_schema)).validate(given)
        token = self._keys.token(agent.name)
        while True:
            try:
                output = await execute(agent.endpoint, capability, given, token=token)
            except grpc.aio.AioRpcError as error:
                assert error_info(error).metadata["retryable"] == "true", error.details()
                self.reasons.append(error_info(error).reason)
            else:
                Draft202012Validator(from_struct(declared.output_schema)).validate(output)
                return output

    async def run(self, workflow: dict[str, Json], ticket: dict[str, Json]) -> dict[str, Json]:
        """Does the workflow's steps in the order of the file; returns its output."""
        outputs: dict[str, Json] = {}
        scope = Scope(input=ticket, outputs=outputs, execution={})
        steps = workflow["steps"]
        assert isinstance(steps, list)
        for step in steps:
            assert isinstance(step, dict)
            assert isinstance(step["call"], dict)
            wanted = "when" not in step or compile_expression(str(step["when"])).evaluate(scope)
            rendered = compile_template(step["call"]["input"]).render(scope) if wanted else None
            outputs[str(step["id"])] = (
                await self.call(str(step["call"]["capability"]), rendered)
                if isinstance(rendered, dict)
                else None
            )
        output = compile_template(workflow["output"]).render(scope)
        assert isinstance(output, dict)
        return output


@asynccontextmanager
async def process(program: Path, home: Path) -> AsyncIterator[Process]:
    started = await asyncio.create_subprocess_exec(
        sys.executable,
        str(program),
        env={**os.environ, "BRIKK_HOME": str(home)},
        cwd=home,
        stderr=DEVNULL,
    )
    try:
        yield started
    finally:
        if started.returncode is None:
            started.terminate()
        await started.wait()


async def test_the_agents_do_the_workflow_for_every_ticket(tmp_path: Path) -> None:
    registry, keys = ScriptedRegistry(), CallKeys(tmp_path)
    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(served(registry))
        (tmp_path / "client.json").write_text(
            json.dumps({"discovery": address, "token": "t", "call_jwks": str(keys.file)})
        )
        processes = [
            await stack.enter_async_context(process(program, tmp_path)) for program in PROGRAMS
        ]
        await registry.until(lambda seen: len(seen.registrations) == len(PROGRAMS))
        desk = Desk([each.agent for each in registry.registrations], keys)
        workflow = yaml.safe_load((EXAMPLES / "workflows" / "ticket-triage.yaml").read_text())
        tickets = [
            json.loads(line)
            for line in (EXAMPLES / "data" / "tickets.jsonl").read_text().splitlines()
        ]
        Draft202012Validator.check_schema(workflow["input_schema"])
        for ticket in tickets:
            Draft202012Validator(workflow["input_schema"]).validate(ticket)
        done = await asyncio.gather(*(desk.run(workflow, ticket) for ticket in tickets))
        for each in processes:
            each.terminate()
        assert [await each.wait() for each in processes] == [0] * len(processes)
    assert "WARMING_UP" in desk.reasons, "the first search finds the handbook unread"
    assert {request.agent for request in registry.departures} == {
        request.agent.name for request in registry.registrations
    }
    escalated = [output["escalation"] is not None for output in done]
    assert any(escalated)
    assert not all(escalated)
    for ticket, output in zip(tickets, done, strict=True):
        assert (output["urgency"] == "high") == (output["escalation"] is not None)
        assert output["article"], "the handbook has something on every ticket"
        assert isinstance(output["reply"], dict)
        assert ticket["customer"] in str(output["reply"]["body"])
        assert ticket["customer"] not in str(output["summary"])


def test_every_workflow_is_accepted() -> None:
    for file in (EXAMPLES / "workflows").glob("*.yaml"):
        accepted = read_yaml(file.read_text())
        assert not isinstance(accepted, list), f"{file.name}: {accepted}"


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.stem)
def test_every_agent_is_named_like_its_file_and_stands_in_the_readme(program: Path) -> None:
    assert f'agent = Agent("{program.stem}"' in program.read_text()
    assert f"](agents/{program.name})" in (EXAMPLES / "README.md").read_text()

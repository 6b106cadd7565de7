"""Any program comes to the same on the service as it is, killed meanwhile, as it does by itself."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from brikk.agent.v1 import agent_runtime_service_pb2 as agent_pb
from brikk.workflow.v1 import execution_pb2
from brikk.workflow.v1 import execution_service_pb2 as pb
from brikk_shared.status import from_status
from brikk_shared.structs import from_struct, from_value, to_value
from brikk_workflow.domain.state import ExecutionStatus, StepStatus
from support.any_program import INPUT, ROOT, SIGNALS, Program, as_yaml, programs
from support.canned_agents import CAPABILITIES, Refusal, answer
from support.chaos import let_leases_end
from support.outcomes import Outcome, alike
from support.reference import Interpreter, OutOfSignals
from support.verbs import ask
from support.workflows import AgentError, State, WorkflowClient, World

FEW_SIGNALS = [*SIGNALS[:3], *SIGNALS[-3:]]
"""Each of them is a call of its own, and restarts send them again."""
KILLED_AT = ("commit.after:6", "commit.before:4")


@dataclass(frozen=True, kw_only=True)
class Part:
    """A program in the play, and what it means."""

    number: int
    program: Program
    meant: Outcome

    @property
    def workflows(self) -> Sequence[str]:
        """Its definitions, by names of their own: each program has the same ones."""
        return [
            as_yaml(each)
            .replace('"child-', f'"p{self.number}-child-')
            .replace(f'"name": "{ROOT}"', f'"name": "p{self.number}"')
            for each in self.program.definitions.values()
        ]

    async def play(self, client: WorkflowClient) -> execution_pb2.WorkflowExecution:
        """Start it, or find it, send what it waits for, and follow it to its end."""
        name = await client.start(
            f"p{self.number}", dict[str, Any](INPUT), request_id=f"p{self.number}"
        )
        for number, (which, data) in enumerate(FEW_SIGNALS):
            if f'"{which}"' in repr(self.program):
                request = pb.SignalExecutionRequest(
                    name=name, signal=which, data=to_value(data), request_id=f"{name}-{number}"
                )
                await client.executions.SignalExecution(
                    request, metadata=client.metadata, timeout=20
                )
        return await client.wait(name, seconds=60)


def parts(count: int) -> Sequence[Part]:
    """Any programs that are long enough to be killed in their midst."""
    found: list[Part] = []

    @settings(
        max_examples=count * 4,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(programs(real=True))
    def gather(program: Program) -> None:
        with suppress(OutOfSignals):
            meant = Interpreter(program.definitions).run(ROOT, INPUT, FEW_SIGNALS)
            if meant.attempts + len(meant.children) > 1:
                found.append(Part(number=len(found), program=program, meant=meant))

    gather()
    return found[-count:]


async def canned(request: agent_pb.ExecuteRequest) -> dict[str, Any]:
    answered = answer(request.capability, from_struct(request.input), request.attempt)
    if isinstance(answered, Refusal):
        raise AgentError(grpc.StatusCode[answered.code])
    return answered


@pytest.mark.parametrize(
    ("count", "faults"),
    [
        (12, KILLED_AT[:1]),
        pytest.param(300, KILLED_AT, marks=[pytest.mark.long, pytest.mark.timeout(900)]),
    ],
)
async def test_any_programs_come_to_what_they_mean(
    tmp_path: Path, database_url: str, count: int, faults: Sequence[str]
) -> None:
    playing = parts(count)
    work: dict[str, Any] = {each.replace(".", "__"): canned for each in CAPABILITIES}
    async with (
        World(tmp_path, database_url).open() as world,
        world.agent(**work) as agent,
    ):
        for fault in faults:
            async with world.process(fault=fault) as service:
                if fault == faults[0]:
                    yamls = [yaml for part in playing for yaml in part.workflows]
                    await asyncio.gather(*map(service.client.create, yamls))
                running = [asyncio.create_task(part.play(service.client)) for part in playing]
                await asyncio.wait(running)
                assert await service.process.process.wait() == -signal.SIGKILL
                assert any(each.exception() for each in running)
            await let_leases_end(database_url)
        async with world.process() as service:
            everything = await asyncio.gather(*(part.play(service.client) for part in playing))
            for part, ended in zip(playing, everything, strict=True):
                came = await outcome(service.client, ended.name, agent.requests)
                meant = silent(part.meant)
                assert alike(came, meant) == alike(meant, meant), part.program


async def outcome(
    client: WorkflowClient, name: str, requests: Sequence[agent_pb.ExecuteRequest]
) -> Outcome:
    """Reads how an execution ended, and those that it ran."""
    ended = await ask(client, "GetExecution", name)
    steps = [step for step in ended.steps if step.HasField("end_time")]
    error = from_status(ended.error) if ended.HasField("error") else None
    undone = {
        each.step: (each.step, each.capability, from_struct(each.input))
        for each in requests
        if each.execution == name and each.step.endswith("/compensate")
    }
    return Outcome(
        status=ExecutionStatus(State.Name(ended.state).removeprefix("STATE_").lower()),
        output=from_value(ended.output) if ended.HasField("output") else None,
        failure=(error.code, error.reason.value) if error else None,
        steps={
            step.path: StepStatus[execution_pb2.StepRun.State.Name(step.state)[len("STATE_") :]]
            for step in steps
        },
        undone=list(undone.values()),
        children={
            step.path: await outcome(client, step.execution, requests)
            for step in steps
            if step.execution
        },
    )


def silent(meant: Outcome) -> Outcome:
    """What can be seen of an outcome from outside.

    A child that a map or a loop ran is not among the steps any more once that has ended.
    """
    children = {path: silent(each) for path, each in meant.children.items() if path in meant.steps}
    return replace(meant, attempts=0, emitted=[], children=children)

"""Kept answers: to whom they are given, and what is not kept."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry

from brikk.workflow.v1.execution_pb2 import WorkflowExecution
from brikk_shared.call import Call, enter_call
from brikk_shared.identity import Identity
from brikk_shared.testing import ManualClock
from brikk_workflow.api.finished import Finished


def finished() -> Finished:
    return Finished(max_bytes=1 << 20, clock=ManualClock(), registry=CollectorRegistry())


@dataclass
class Reader:
    """Asks for execution `b1`, as an organisation."""

    finished: Finished
    ended: bool = True
    reads: list[str] = field(default_factory=list)

    async def ask(self, organization: str = "acme", question: str = "full") -> str:
        async def load() -> tuple[WorkflowExecution, bool]:
            self.reads.append(organization)
            return WorkflowExecution(name=f"{organization} {len(self.reads)}"), self.ended

        async def call() -> str:
            identity = Identity(
                subject="users/a", organization=organization, scopes=frozenset(), internal=False
            )
            enter_call(Call(method="/m", identity=identity, request_id=""))
            return (await self.finished.answer("b1", question, load)).name

        return await asyncio.create_task(call())


async def test_an_answer_is_given_to_the_organisation_that_asked_and_for_the_question() -> None:
    reader = Reader(finished())
    assert [await reader.ask() for _ in range(2)] == ["acme 1"] * 2
    assert await reader.ask("other") == "other 2"
    assert await reader.ask(question="history/1/") == "acme 3"
    assert await reader.ask() == "acme 1"


async def test_what_has_not_ended_is_read_each_time() -> None:
    reader = Reader(finished(), ended=False)
    assert [await reader.ask() for _ in range(2)] == ["acme 1", "acme 2"]


async def test_what_was_removed_is_forgotten() -> None:
    reader = Reader(finished())
    await reader.ask()
    reader.finished.forget(["b2"])
    assert await reader.ask() == "acme 1"
    reader.finished.forget(["b1", "b2"])
    assert await reader.ask() == "acme 2"

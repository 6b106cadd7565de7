"""An agent whose handlers wait for what the test lets happen, and calls to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from threading import Event

from brikk_agent import Agent, CallCancelled, Context, Retryable
from brikk_shared.clock import SystemClock
from brikk_workflow.clients.agents import AgentCaller
from brikk_workflow.clients.work import Answered, Outcome
from brikk_workflow.domain.payload import Json
from support.agents import CallKeys, ScriptedRegistry, connection_to, served
from support.calling import outcome_of, work
from support.loopback import egress


class Worker:
    """An agent on a real socket."""

    def __init__(
        self,
        registry: str,
        keys: CallKeys,
        *,
        listen: str = "127.0.0.1:0",
        grace: timedelta = timedelta(seconds=20),
    ) -> None:
        self.agent = Agent(
            "worker",
            agent_id="worker-1",
            listen=listen,
            grace=grace,
            connection=connection_to(registry, keys),
        )
        self.endpoint = ""
        self.begun = asyncio.Event()
        self.released = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.thread_begun = Event()
        self.thread_ended = Event()
        self.agent.capability("echo")(self._echo)
        self.agent.capability("fail")(self._fail)
        self.agent.capability("hold")(self._hold)
        self.agent.capability("beat")(self._beat)
        self.agent.capability("thread")(self._thread)
        self.agent.capability("stray")(self._stray)

    async def _echo(self, context: Context, text: str) -> dict[str, str]:
        context.use(tokens=len(text), cost_micros=1)
        context.use(tokens=1, cost_micros=2, model="parrot-2")
        return {"text": text}

    async def _fail(self, context: Context) -> dict[str, str]:
        context.use(tokens=7)
        raise Retryable("OUT_OF_LUCK", "not today")

    async def _stray(self) -> dict[str, str]:
        raise asyncio.CancelledError  # of something that it waited for

    async def _hold(self) -> dict[str, str]:
        self.begun.set()
        try:
            await self.released.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return {"text": "released"}

    async def _beat(self, context: Context) -> dict[str, str]:
        """Beats far oftener than anybody waits for it, until released."""
        self.begun.set()
        while not self.released.is_set():
            context.heartbeat()
            await asyncio.sleep(0.001)
        return {"text": "released"}

    def _thread(self, context: Context, beats: bool) -> dict[str, str]:
        """Runs on in its thread until a heartbeat, or a look, tells that nobody waits."""
        self.thread_begun.set()
        try:
            while beats or not context.cancelled:
                if beats:
                    context.heartbeat()
                self.thread_ended.wait(0.001)  # leaves the interpreter to the others
        except CallCancelled:
            pass
        self.thread_ended.set()
        return {"text": "too late"}


@asynccontextmanager
async def working(worker: Worker) -> AsyncIterator[Worker]:
    """Lets a worker serve."""
    await worker.agent.start()
    worker.endpoint = worker.agent.endpoint
    try:
        yield worker
    finally:
        await worker.agent.stop()


async def call(
    caller: AgentCaller,
    worker: Worker,
    capability: str,
    *,
    timeout: timedelta = timedelta(seconds=30),
    heartbeat: timedelta | None = None,
    **given: Json,
) -> Outcome:
    """Calls a worker."""
    order = work(capability, given, timeout=timeout, heartbeat=heartbeat)
    return await outcome_of(caller, worker.agent.name, worker.endpoint, order)


def text_of(outcome: Outcome) -> Json:
    """What a call was answered with."""
    assert isinstance(outcome, Answered), outcome
    return outcome.output["text"]


@asynccontextmanager
async def worker_and_caller(folder: Path) -> AsyncIterator[tuple[Worker, AgentCaller]]:
    """A worker that serves, and who may call it; `folder` keeps the keys."""
    keys = CallKeys(folder)
    async with served(ScriptedRegistry()) as registry, working(Worker(registry, keys)) as worker:
        caller = AgentCaller(egress=egress(), signer=keys.signer, clock=SystemClock())
        try:
            yield worker, caller
        finally:
            await caller.aclose()

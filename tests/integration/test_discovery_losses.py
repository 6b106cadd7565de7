"""Half of an organisation falls silent at once: it comes back, or it is gone in the end."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

from brikk.discovery.v1 import agent_pb2
from brikk.discovery.v1 import discovery_service_pb2 as pb
from brikk_shared.testing import Tokens
from support.behind import lapse
from support.discovery import Caller, Discovery, agent, registration, serving, until
from support.health import answering
from support.sweeps import SECOND

READY, SUSPECT = agent_pb2.Agent.STATE_READY, agent_pb2.Agent.STATE_SUSPECT
QUICK: dict[str, Any] = {
    "sweep_interval": "50ms",
    "checkpoint_interval": "50ms",
    "probe_interval": "1s",
    "probe_timeout": "1s",
}


async def register(caller: Caller, name: str, endpoint: str) -> pb.Beat:
    held = await caller.send(registration(name, agent("text.write", endpoint=endpoint)))
    return pb.Beat(agent=f"agents/{name}", epoch=held.epoch)


async def register_fifty(caller: Caller, prefix: str, endpoint: str) -> list[pb.Beat]:
    names = [f"{prefix}-{number}" for number in range(50)]
    return await asyncio.gather(*(register(caller, name, endpoint) for name in names))


async def states(caller: Caller) -> Counter[int]:
    return Counter(item.state for item in (await caller.page(500)).agents)


async def sample(discovery: Discovery, name: str) -> float:
    return (await discovery.metrics()).get(name, 0)


async def test_those_who_answer_are_kept_until_they_are_heard_again(
    database_url: str, tmp_path: Path
) -> None:
    async with (
        answering() as endpoint,
        serving(database_url, Tokens(tmp_path), **QUICK) as discovery,
    ):
        await discovery.swept()
        caller = discovery.caller()
        await register_fifty(caller, "well", endpoint)
        beats = await register_fifty(caller, "lost", endpoint)
        await lapse(database_url, 30 * SECOND, "lost%")

        async def suspected() -> bool:
            # Probed twice since, each of them.
            return (await states(caller))[SUSPECT] == 50 and (
                await sample(discovery, "brikk_discovery_probes_total answered")
            ) >= 200

        await until(suspected)
        await lapse(database_url, 13 * SECOND, "lost%")

        async def held() -> bool:
            return await sample(discovery, "brikk_discovery_held") == 50

        await until(held)
        assert await states(caller) == {READY: 50, SUSPECT: 50}
        assert sum("lost" in name for name in await caller.resolve()) == 0
        answer = await caller.beats(*beats)
        assert not any(result.status.code for result in answer.results)

        async def recovered() -> bool:
            return await states(caller) == {READY: 100} and not await sample(
                discovery, "brikk_discovery_held"
            )

        await until(recovered)
        assert await sample(discovery, "brikk_discovery_expired_total") == 0


async def test_a_real_loss_happens_slowly_and_ends(database_url: str, tmp_path: Path) -> None:
    async with serving(database_url, Tokens(tmp_path), **QUICK) as discovery:
        await discovery.swept()
        caller = discovery.caller()
        nowhere = "127.0.0.1:1"
        await register_fifty(caller, "well", nowhere)
        await register_fifty(caller, "lost", nowhere)
        other = discovery.caller("umbrella")
        await other.register("lost-too")
        await lapse(database_url, 43 * SECOND, "lost%")

        async def slowed() -> bool:
            return await sample(discovery, "brikk_discovery_expired_total") == 16

        await until(slowed)
        assert await sample(discovery, "brikk_discovery_held") == 35
        assert (await states(caller)).total() == 85
        # What one organisation suffers holds nobody of another.
        assert not (await states(other)).total()
        await lapse(database_url, 40 * SECOND, "lost%")

        async def over() -> bool:
            return (await states(caller)).total() == 50

        await until(over)
        assert not any("lost" in item.name for item in (await caller.page(500)).agents)

        async def nobody_held() -> bool:
            return not await sample(discovery, "brikk_discovery_held")

        await until(nobody_held)

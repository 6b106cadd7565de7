"""What discovery is told of calls: what agents are to blame for, and what they did well."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import grpc

from brikk.agent.v1 import agent_runtime_service_pb2 as agent_pb
from brikk_shared.structs import Json
from support.discovery import until
from support.workflows import AgentError, Work, World, echo

YAML = """
name: {name}
steps:
  - {{id: only, call: {{capability: text.{name}}}, retry: {{max_attempts: 2, initial: 10ms}}}}
"""


def failing(code: grpc.StatusCode) -> Work:
    async def work(_: agent_pb.ExecuteRequest) -> Mapping[str, Json]:
        raise AgentError(code)

    return work


async def test_agents_are_not_blamed_for_what_callers_did_wrong(
    tmp_path: Path, sqlite_url: str
) -> None:
    async with (
        World(tmp_path, sqlite_url).open() as world,
        world.agent("agents/picky", text__picky=failing(grpc.StatusCode.INVALID_ARGUMENT)),
        world.agent("agents/broken", text__broken=failing(grpc.StatusCode.INTERNAL)),
        world.agent("agents/fine", text__fine=echo()),
        world.service() as client,
    ):
        for name in ("picky", "broken", "fine"):
            await client.create(YAML.format(name=name))
            await client.run(name)

        def told() -> Mapping[tuple[str, str], tuple[int, int]]:
            sums: defaultdict[tuple[str, str], tuple[int, int]] = defaultdict(lambda: (0, 0))
            for organization, outcomes in world.discovery.reports:
                for each in outcomes:
                    successes, failures = sums[organization, each.agent]
                    sums[organization, each.agent] = (
                        successes + each.successes,
                        failures + each.failures,
                    )
            return sums

        async def complete() -> bool:
            return ("acme", "agents/fine") in told()

        await until(complete)
        assert told() == {("acme", "agents/broken"): (0, 2), ("acme", "agents/fine"): (1, 0)}

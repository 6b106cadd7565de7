"""What all four services tell Prometheus: names that dashboards expect, and no series per id."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import aiohttp
import grpc
import pytest
from prometheus_client.parser import text_string_to_metric_families

from brikk.discovery.v1.discovery_service_pb2 import GetAgentRequest
from brikk.discovery.v1.discovery_service_pb2_grpc import DiscoveryServiceStub
from brikk.event.v1.event_service_pb2 import PublishItem, PublishRequest
from brikk.event.v1.event_service_pb2_grpc import EventServiceStub
from brikk.webhooks.v1.webhook_service_pb2 import GetWebhookRequest
from brikk.webhooks.v1.webhook_service_pb2_grpc import WebhookServiceStub
from brikk.workflow.v1.execution_service_pb2 import GetExecutionRequest
from brikk.workflow.v1.execution_service_pb2_grpc import ExecutionServiceStub
from brikk_cli.plan import SERVICES
from brikk_cli.ports import Ports
from brikk_cli.suite import Suite
from brikk_shared.clock import SystemClock
from brikk_shared.event import make_event
from brikk_shared.signing import TokenSigner
from brikk_shared.testing import bearer

CALLS = {f"grpc_server_{name}" for name in ("started", "handled", "msg_received", "msg_sent")} | {
    "grpc_server_handling_seconds"
}
OUTBOX = {f"brikk_outbox_{name}" for name in ("depth", "oldest_seconds", "published", "refused")}
NAMES = {
    "workflow": OUTBOX
    | {
        f"brikk_workflow_{name}"
        for name in (
            "executions",
            "transitions",
            "step_seconds",
            "claims",
            "commit_batch_size",
            "oldest_runnable_seconds",
        )
    },
    "discovery": OUTBOX | {"brikk_discovery_agents", "brikk_discovery_beats"},
    "webhooks": {
        f"brikk_webhooks_{name}" for name in ("attempts", "queue_depth", "oldest_pending_seconds")
    },
    "monitoring": {
        f"brikk_monitoring_{name}"
        for name in ("ingested", "rejected", "apply_seconds", "series_active", "dead_letters")
    },
}
LABELS = {
    *("grpc_type", "grpc_service", "grpc_method", "grpc_code", "le", "generation"),
    *("service", "version", "python", "key", "loop", "destination", "state", "result", "reason"),
    *("policy", "outcome", "owner", "step", "cause"),
}
"""Each has a few values, known beforehand."""
CODES = {
    *("OK", "Canceled", "Unknown", "InvalidArgument", "DeadlineExceeded", "NotFound"),
    *("AlreadyExists", "PermissionDenied", "ResourceExhausted", "FailedPrecondition", "Aborted"),
    *("OutOfRange", "Unimplemented", "Internal", "Unavailable", "DataLoss", "Unauthenticated"),
}
"""As Go's gRPC, where the names of the metrics come from, writes them."""
BATCH = 500

Series = set[tuple[str, frozenset[tuple[str, str]]]]


@pytest.fixture
async def suite(tmp_path: Path) -> AsyncIterator[Suite]:
    async with Suite(tmp_path / "home", ports=Ports.free(), log_level="warning") as suite:
        yield suite


@pytest.mark.parametrize(
    "ids",
    [
        2 * BATCH,
        pytest.param(1_000_000, id="million", marks=[pytest.mark.long, pytest.mark.timeout(1800)]),
    ],
)
async def test_the_names_are_those_that_dashboards_expect_and_no_id_makes_a_series(
    suite: Suite, ids: int, tell: Callable[[str], None]
) -> None:
    before = {service: await scrape(suite, service) for service in SERVICES}
    for service, text in before.items():
        check_names(service, text)
        check_advice(text, tell)
    await ask_for_strangers(suite)
    await report(suite, ids)
    for service, text in before.items():
        assert series(await scrape(suite, service)) == series(text)


def check_names(service: str, text: str) -> None:
    families = {family.name for family in text_string_to_metric_families(text)}
    common = CALLS | {"brikk_build_info", "brikk_loop_restarts"}
    assert families >= common | NAMES[service]
    labels = [(name, value) for _, each in series(text) for name, value in each]
    assert {name for name, _ in labels} <= LABELS
    assert {value for name, value in labels if name == "grpc_code"} == CODES


def check_advice(text: str, tell: Callable[[str], None]) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        tell("promtool is not here, so nobody looked for what Prometheus advises against")
        return
    judged = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (judged.returncode, judged.stderr) == (0, "")


async def scrape(suite: Suite, service: str) -> str:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://{suite.http_addresses[service]}/metrics") as response,
    ):
        assert response.status == 200
        return await response.text()


def series(text: str) -> Series:
    return {
        (sample.name, frozenset(sample.labels.items()))
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def ask_for_strangers(suite: Suite) -> None:
    """Ask each service for what has an id that it never saw."""
    addresses = suite.addresses
    async with (
        grpc.aio.insecure_channel(addresses["workflow"]) as workflow,
        grpc.aio.insecure_channel(addresses["discovery"]) as discovery,
        grpc.aio.insecure_channel(addresses["webhooks"]) as webhooks,
    ):
        metadata, timeout = bearer(suite.token()), 20
        executions, agents = ExecutionServiceStub(workflow), DiscoveryServiceStub(discovery)
        hooks = WebhookServiceStub(webhooks)
        for number in range(20):
            execution = GetExecutionRequest(name=f"executions/e{number}")
            agent = GetAgentRequest(name=f"agents/a{number}")
            webhook = GetWebhookRequest(name=f"webhooks/w{number}")
            calls: list[Awaitable[object]] = [
                executions.GetExecution(execution, metadata=metadata, timeout=timeout),
                agents.GetAgent(agent, metadata=metadata, timeout=timeout),
                hooks.GetWebhook(webhook, metadata=metadata, timeout=timeout),
            ]
            for call in calls:
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await call
                assert refused.value.code() is grpc.StatusCode.NOT_FOUND


async def report(suite: Suite, ids: int) -> None:
    """Tell monitoring of steps, each of another workflow, execution and agent."""
    clock = SystemClock()
    metadata = bearer(
        TokenSigner.from_file(suite.home.keys / "internal.json").mint(
            subject="services/test",
            scopes=["internal"],
            audience="brikk",
            lifetime=timedelta(hours=1),
        )
    )
    async with grpc.aio.insecure_channel(suite.addresses["monitoring"]) as channel:
        for first in range(1, ids + 1, BATCH):
            items = [
                PublishItem(
                    position=number,
                    event=make_event(
                        source="brikk.workflow",
                        type="brikk.step.succeeded.v1",
                        subject=f"executions/e{number}",
                        organization="acme",
                        sequence=1,
                        time=clock.now(),
                        data={
                            "workflow": f"w{number}",
                            "step": f"s{number}",
                            "agent": f"agents/a{number}",
                            "capability": f"c{number}.d",
                            "attempts": 1,
                            "latency_ms": 1.0,
                            "duration_ms": 1.0,
                        },
                    ),
                )
                for number in range(first, min(first + BATCH, ids + 1))
            ]
            request = PublishRequest(producer="test", generation=f"{ids}", items=items)
            answer = await EventServiceStub(channel).Publish(request, metadata=metadata, timeout=60)
            assert (answer.mark, len(answer.refusals)) == (items[-1].position, 0)

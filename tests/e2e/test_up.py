"""`brikk up` as a person runs it: everything serves, nothing is open, all of it stops."""

from __future__ import annotations

import os
import signal
import socket
import stat
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from prometheus_client.parser import text_string_to_metric_families

from brikk.workflow.v1.workflow_service_pb2 import ListWorkflowsRequest
from brikk.workflow.v1.workflow_service_pb2_grpc import WorkflowServiceStub
from brikk_cli.plan import SERVICES
from brikk_cli.ports import HOST, Ports
from support.command import Up, brikk, up

OFFERED = {
    "discovery": {"brikk.discovery.v1.DiscoveryService"},
    "workflow": {
        "brikk.workflow.v1.WorkflowService",
        "brikk.workflow.v1.ExecutionService",
        "brikk.workflow.v1.ScheduleService",
    },
    "webhooks": {"brikk.webhooks.v1.WebhookService", "brikk.event.v1.EventService"},
    "monitoring": {"brikk.monitoring.v1.MonitoringService", "brikk.event.v1.EventService"},
}


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with up(tmp_path_factory.mktemp("up") / "home") as running:
        yield running


def wait_until_serving(address: str) -> None:
    options = [("grpc.max_reconnect_backoff_ms", 100)]
    with grpc.insecure_channel(address, options) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        request = health_pb2.HealthCheckRequest()
        for answer in stub.Watch(request, timeout=60, wait_for_ready=True):
            if answer.status == health_pb2.HealthCheckResponse.SERVING:
                return


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("service", SERVICES)
def test_health_says_serving(suite: Up, service: str) -> None:
    with grpc.insecure_channel(suite.client()[service]) as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(
            health_pb2.HealthCheckRequest(), timeout=10
        )
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.parametrize("service", SERVICES)
def test_reflection_lists_the_services(suite: Up, service: str) -> None:
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    with grpc.insecure_channel(suite.client()[service]) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        [answer] = stub.ServerReflectionInfo(iter([request]), timeout=10)
    listed = {each.name for each in answer.list_services_response.service}
    assert listed >= {*OFFERED[service], "grpc.health.v1.Health"}


@pytest.mark.parametrize("service", SERVICES)
def test_metrics_parse(suite: Up, service: str) -> None:
    with urllib.request.urlopen(suite.document["services"][service]["metrics"], timeout=10) as got:
        families = {each.name for each in text_string_to_metric_families(got.read().decode())}
    assert families >= {"brikk_build_info", "grpc_server_handled", "grpc_server_handling_seconds"}


def test_a_call_without_a_token_is_unauthenticated(suite: Up) -> None:
    with (
        grpc.insecure_channel(suite.client()["workflow"]) as channel,
        pytest.raises(grpc.RpcError) as refused,
    ):
        WorkflowServiceStub(channel).ListWorkflows(ListWorkflowsRequest(), timeout=10)
    assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED


def test_valkey_asks_for_its_password(suite: Up) -> None:
    with socket.create_connection((HOST, suite.ports.valkey), timeout=10) as connection:
        connection.sendall(b"PING\r\n")
        assert connection.recv(100).startswith(b"-NOAUTH")


def test_all_that_is_kept_is_the_owners_alone(suite: Up) -> None:
    assert stat.S_IMODE(suite.home.stat().st_mode) == 0o700
    assert stat.S_IMODE((suite.home / "client.json").stat().st_mode) == 0o600


def test_logs_name_their_process(suite: Up) -> None:
    assert any(line.startswith("monitoring ") for line in suite.logs().splitlines())


@pytest.mark.parametrize("service", SERVICES)
def test_a_killed_service_is_started_again(suite: Up, service: str) -> None:
    before = suite.pids()
    with grpc.insecure_channel(suite.client()[service]) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(
            health_pb2.HealthCheckRequest(), timeout=60
        )
        next(watch)
        os.kill(before[service], signal.SIGKILL)
        with pytest.raises(grpc.RpcError):
            next(watch)
    wait_until_serving(suite.client()[service])
    after = suite.pids()
    assert after.pop(service) != before.pop(service)
    assert after == before
    assert "killed by SIGKILL; starts again in" in suite.logs()


def test_a_second_suite_on_the_same_home_is_refused(suite: Up) -> None:
    refused = brikk("up", f"--home={suite.home}", "--port-base=20000")
    assert refused.code == 1
    assert refused.err == (
        f"brikk: a suite runs on {suite.home} already (process {suite.process.pid}); "
        "stop it, or give this one another --home\n"
    )


def test_taken_ports_are_named_before_anything_starts(suite: Up, tmp_path: Path) -> None:
    free = dict(Ports.free().items())
    given = {**free, "webhooks": suite.ports.webhooks, "valkey": suite.ports.valkey}
    options = [f"--port={name}={port}" for name, port in given.items()]
    refused = brikk("up", "--json", f"--home={tmp_path / 'home'}", *options)
    assert refused.code == 1
    assert f"port {suite.ports.webhooks} (webhooks) is taken on 127.0.0.1" in refused.err
    assert f"port {suite.ports.valkey} (valkey) is taken on 127.0.0.1" in refused.err
    assert "--port webhooks=PORT" in refused.err
    assert "taken" in refused.json["error"]["message"]
    assert not (tmp_path / "home" / "client.json").exists()


def test_a_wrong_setting_stops_the_start_and_is_named(tmp_path: Path) -> None:
    options = [f"--port={name}={port}" for name, port in Ports.free().items()]
    wrong = {"BRIKK_WORKFLOW_RATE_LIMIT": "-1"}
    refused = brikk("up", f"--home={tmp_path / 'home'}", *options, environment=wrong)
    assert refused.code == 1
    assert "brikk: workflow did not start (ended with 2)" in refused.err
    assert "BRIKK_WORKFLOW_RATE_LIMIT" in refused.err
    assert "Traceback" not in refused.err


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_everything(tmp_path: Path, signum: signal.Signals) -> None:
    with up(tmp_path / "home") as suite:
        pids = suite.pids()
        assert pids.keys() == {*SERVICES, "valkey"}
        assert suite.stop(signum) == 0
        assert not any(is_alive(pid) for pid in pids.values())
        assert suite.ports.problems() == []
        assert not (suite.home / "processes.json").exists()


def test_what_a_killed_suite_left_running_is_pointed_at(tmp_path: Path) -> None:
    with up(tmp_path / "home") as suite:
        left = suite.pids()
        suite.stop(signal.SIGKILL)
        options = [f"--port={name}={port}" for name, port in suite.ports.items()]
        refused = brikk("up", f"--home={suite.home}", *options)
        for pid in left.values():
            os.kill(pid, signal.SIGTERM)
    assert refused.code == 1
    assert f"port {suite.ports.valkey} (valkey) is taken" in refused.err
    assert f"{suite.home}/processes.json names what a suite that was killed left" in refused.err


def test_what_was_stored_is_there_again(tmp_path: Path) -> None:
    definition = "name: kept\nsteps:\n  - id: one\n    call: {capability: nobody.does}\n"
    home = tmp_path / "home"
    with up(home):
        applied = brikk("workflow", "apply", "-", home=home, stdin=definition)
        assert applied.code == 0, applied.err
    gone = brikk("workflow", "list", home=home)
    assert gone.code == 5
    assert "is `brikk up` running?" in gone.err
    with up(home):
        listed = brikk("workflow", "list", "--json", home=home)
    assert [each["name"] for each in listed.json["workflows"]] == ["workflows/kept"]

"""Which ports a suite takes, and what it says when they are not to be had."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from brikk_cli.ports import HOST, Ports


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as server:
        server.bind((HOST, 0))
        server.listen()
        yield server.getsockname()[1]


def test_the_layout_moves_as_a_whole_and_single_ports_win() -> None:
    ports = Ports.from_base(8411, {"valkey": 9999})
    assert dict(ports.items()) == {
        "discovery": 8411,
        "workflow": 8412,
        "webhooks": 8413,
        "monitoring": 8414,
        "discovery_http": 8421,
        "workflow_http": 8422,
        "webhooks_http": 8423,
        "monitoring_http": 8424,
        "webhooks_worker1_http": 8433,
        "webhooks_worker2_http": 8434,
        "monitoring_worker_http": 8435,
        "valkey": 9999,
    }
    assert ports.address("workflow_http") == "127.0.0.1:8422"


def test_free_ports_are_all_different_and_to_be_had() -> None:
    ports = Ports.free()
    numbers = [port for _, port in ports.items()]
    assert len(set(numbers)) == len(numbers)
    assert ports.problems() == []


def test_a_taken_port_is_named_with_its_setting(taken: int) -> None:
    ports = Ports.from_base(Ports.free().discovery, {"webhooks": taken})
    assert (
        f"port {taken} (webhooks) is taken on 127.0.0.1; "
        "give another with --port webhooks=PORT or move all with --port-base"
    ) in ports.problems()


def test_a_port_given_twice_is_named() -> None:
    free = Ports.free()
    [problem] = Ports(**{**dict(free.items()), "workflow": free.discovery}).problems()
    assert problem.startswith(f"port {free.discovery} (workflow) is also given to discovery; ")


def test_a_port_that_is_not_used_may_be_taken(taken: int) -> None:
    ports = Ports(**{**dict(Ports.free().items()), "webhooks_worker1_http": taken})
    assert ports.problems(unused=["webhooks_worker1_http"]) == []


@pytest.mark.parametrize("number", [0, -1, 65_536])
def test_a_number_that_is_no_port_is_named(number: int) -> None:
    [problem] = Ports(**{**dict(Ports.free().items()), "valkey": number}).problems()
    assert problem.startswith(f"port {number} (valkey) is not between 1 and 65535; ")

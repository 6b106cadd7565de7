"""What strangers may have us call: public addresses, whatever the form in which they are given."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brikk_shared.egress import Address, Egress
from brikk_shared.errors import InvalidArgument, PermissionDenied, Reason, Unavailable
from brikk_shared.networks import IPAddress, is_public

PUBLIC = [
    "1.1.1.1",
    "93.184.216.34",
    "223.255.255.255",
    "2606:4700::1111",
    "2a00:1450::1",
    "::ffff:1.1.1.1",
    "64:ff9b::1.1.1.1",
]
NOT_PUBLIC = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.0.1",
    "169.254.169.254",
    "172.16.0.1",
    "192.0.0.1",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:0:127.0.0.1",
    "64:ff9b::127.0.0.1",
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:0:7f00:1::",
    "2001:0:4136:e378:8000:63bf:80ff:fffe",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "2002:101:101::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
]
ODD = [
    "127.1",
    "127.0.1",
    "2130706433",
    "017700000001",
    "0x7f.1",
    "0x7f000001",
    "0X7F.0.0.1",
    "0177.0.0.1",
    "127.0.0.01",
    "1.1",
    "127.0.0.1.",
    "127.0.0.1..",
    "169.254.169.254.",
    "1.1.1.1.",
    "256.1.1.1",
    "a.0x",
    "example.1",
    "fe80::1%eth0",
    "fe80::1%25eth0",
    "2606:4700::1111%1",
    "::ffff:127.1",
    "::1.",
    ":",
    "",
]


async def nowhere(host: str) -> Sequence[IPAddress]:
    raise AssertionError(f"{host} was looked up")


def names(**addresses: str) -> Egress:
    """A guard whose resolver knows these names only, each with its addresses."""

    async def look_up(host: str) -> Sequence[IPAddress]:
        if host not in addresses:
            raise OSError("no such name")
        return [ip_address(each) for each in addresses[host].split()]

    return Egress(look_up=look_up)


@pytest.mark.parametrize("host", PUBLIC)
async def test_a_public_address_may_be_called(host: str) -> None:
    address = await Egress(look_up=nowhere).resolve(host, 443)
    assert address == Address(host=host, port=443, ips=(ip_address(host),))
    Egress(look_up=nowhere).check_literal(host, field="url")


@pytest.mark.parametrize("host", NOT_PUBLIC + ODD)
async def test_any_other_is_refused(host: str) -> None:
    guard = Egress(look_up=nowhere)
    with pytest.raises(PermissionDenied) as refused:
        await guard.resolve(host, 443)
    assert refused.value.reason == Reason.ADDRESS_REFUSED
    assert refused.value.metadata == {"address": host}
    with pytest.raises(InvalidArgument) as complaint:
        guard.check_literal(host, field="webhook.url")
    assert complaint.value.reason == Reason.ADDRESS_REFUSED
    assert complaint.value.metadata == {"address": host}
    assert [each.field for each in complaint.value.violations] == ["webhook.url"]


@pytest.mark.parametrize("host", NOT_PUBLIC)
async def test_allowed_networks_may_be_called(host: str) -> None:
    guard = Egress([ip_network("0.0.0.0/0"), ip_network("::/0")], look_up=nowhere)
    assert (await guard.resolve(host, 1)).ips == (ip_address(host),)


@pytest.mark.parametrize("host", ODD)
async def test_what_is_written_oddly_is_refused_even_then(host: str) -> None:
    guard = Egress([ip_network("0.0.0.0/0"), ip_network("::/0")], look_up=nowhere)
    with pytest.raises(PermissionDenied):
        await guard.resolve(host, 1)


@pytest.mark.parametrize(
    ("host", "permitted"),
    [
        ("10.1.2.3", True),
        ("10.2.0.0", False),
        ("::ffff:10.1.2.3", True),
        ("64:ff9b::10.1.2.3", True),
        ("64:ff9b::10.2.0.0", False),
        ("2002:a01:203::1", False),
        ("fd00::7", True),
        ("fd00::8", False),
        ("169.254.169.254", False),
    ],
)
def test_nothing_else_is_allowed_with_them(host: str, permitted: bool) -> None:
    guard = Egress([ip_network("10.1.0.0/16"), ip_network("fd00::7/128")])
    assert guard.permits(ip_address(host)) == permitted


@given(st.ip_addresses(v=4) | st.ip_addresses(v=6))
def test_what_python_does_not_call_global_is_never_public(ip: IPv4Address | IPv6Address) -> None:
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped:
        ip = ip.ipv4_mapped  # on some versions Python looks at the outer form alone
    assert ip.is_global or not is_public(ip)
    assert not (ip.is_multicast or ip.is_loopback or ip.is_link_local) or not is_public(ip)
    assert Egress().permits(ip) == is_public(ip)
    assert Egress([ip_network(f"{ip}")]).permits(ip)


@given(st.ip_addresses(v=4))
def test_inside_ipv6_an_address_is_what_it_leads_to(ip: IPv4Address) -> None:
    assert is_public(IPv6Address(f"::ffff:{ip}")) == is_public(ip)
    assert is_public(IPv6Address(f"64:ff9b::{ip}")) == is_public(ip)
    assert not is_public(IPv6Address(0x2002 << 112 | int(ip) << 80))
    assert not is_public(IPv6Address(0x2001 << 112 | int(ip) << 64 | 1))
    assert not is_public(IPv6Address(int(ip)))


async def test_one_bad_answer_spoils_a_name() -> None:
    guard = names(good="1.1.1.1 2606:4700::1111", mixed="1.1.1.1 10.0.0.1", bad="fe80::1%2")
    assert (await guard.resolve("good", 80)).ips == (
        ip_address("1.1.1.1"),
        ip_address("2606:4700::1111"),
    )
    for host in ("mixed", "bad"):
        with pytest.raises(PermissionDenied) as refused:
            await guard.resolve(host, 80)
        # What the name stands for is not told: that would map the network for a stranger.
        assert refused.value.metadata == {"address": host}
        assert "10.0.0.1" not in refused.value.message


async def test_an_unknown_name_is_unavailable() -> None:
    guard = names(empty="")
    for host in ("unknown", "empty"):
        with pytest.raises(Unavailable, match=f"the name {host} was not found"):
            await guard.resolve(host, 80)
    with pytest.raises(Unavailable, match=r"the name a\.\.b was not found"):
        await Egress().resolve("a..b", 80)


async def test_a_field_with_a_name_is_looked_up() -> None:
    guard = names(good="1.1.1.1", bad="127.0.0.1")
    for endpoint in ("good:1", "unknown:1", "[2606:4700::1111]:1"):
        await guard.check_endpoint(endpoint, field="agent.endpoint")
    for host in ("bad", "127.0.0.1", "127.1"):
        with pytest.raises(InvalidArgument) as refused:
            await guard.check_endpoint(f"{host}:1", field="agent.endpoint")
        assert refused.value.metadata == {"address": host}
    guard.check_literal("bad", field="url")


async def test_the_systems_resolver_answers_for_names() -> None:
    guard = Egress([ip_network("127.0.0.0/8"), ip_network("::1/128")])
    assert all(ip.is_loopback for ip in (await guard.resolve("localhost", 80)).ips)
    with pytest.raises(PermissionDenied):
        await Egress().resolve("localhost", 80)


async def test_a_look_up_without_end_is_given_up() -> None:
    async def endless(host: str) -> Sequence[IPAddress]:
        answers: asyncio.Future[Sequence[IPAddress]] = asyncio.get_running_loop().create_future()
        return await answers

    with pytest.raises(Unavailable, match="the name slow was not found"):
        await Egress(look_up=endless, timeout=timedelta()).resolve("slow", 80)


@pytest.mark.parametrize(
    ("host", "addresses", "authority", "target"),
    [
        ("a.example", "1.1.1.1 1.0.0.1", "a.example:80", "ipv4:1.1.1.1:80,1.0.0.1:80"),
        ("a.example", "2606::1", "a.example:80", "ipv6:[2606::1]:80"),
        ("a.example", "2606::1 1.1.1.1", "a.example:80", "ipv6:[2606::1]:80,[::ffff:1.1.1.1]:80"),
        ("2606::1", "2606::1", "[2606::1]:80", "ipv6:[2606::1]:80"),
    ],
)
def test_grpc_is_given_literals(host: str, addresses: str, authority: str, target: str) -> None:
    ips = tuple(map(ip_address, addresses.split()))
    address = Address(host=host, port=80, ips=ips)
    assert (address.authority, address.target) == (authority, target)

"""Which addresses are public: what IANA has handed out for anybody to be reached at.

The rules are those of IANA's special-purpose address registries
(https://www.iana.org/assignments/iana-ipv4-special-registry and its sibling for IPv6).
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TypeAlias

IPAddress: TypeAlias = IPv4Address | IPv6Address
IPNetwork: TypeAlias = IPv4Network | IPv6Network

# The IPv6 that is handed out at all; the rest is local, reserved, or IPv4 in disguise.
_GLOBAL_UNICAST = IPv6Network("2000::/3")
# What `ipaddress` takes for public, in some of its versions, and is not: relays and tunnels that
# lead to whatever IPv4 address is inside (6to4, Teredo), and documentation.
_NOT_PUBLIC: tuple[IPNetwork, ...] = (
    IPv4Network("192.88.99.0/24"),
    IPv6Network("2001::/32"),
    IPv6Network("2002::/16"),
    IPv6Network("3fff::/20"),
)
_NAT64 = IPv6Network("64:ff9b::/96")
_IPV4_BITS = 0xFFFF_FFFF
# A host that ends in a number is an IPv4 address to resolvers, however oddly it is written: 127.1,
# 0x7f.1, 2130706433 (WHATWG URL, "ends in a number").
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")


def is_public(ip: IPAddress) -> bool:
    """Whether an address is global unicast; one behind NAT64 when what it leads to is."""
    if isinstance(ip, IPv6Address):
        inner = ip.ipv4_mapped or behind_nat64(ip)
        if inner is not None:
            return is_public(inner)
        if ip not in _GLOBAL_UNICAST:
            return False
    if any(ip in network for network in _NOT_PUBLIC):
        return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def behind_nat64(ip: IPAddress) -> IPv4Address | None:
    """The IPv4 address that a NAT64 gateway makes of one (RFC 6052, the well-known prefix)."""
    return IPv4Address(int(ip) & _IPV4_BITS) if ip in _NAT64 else None


def read_literal(host: str) -> IPAddress | None:
    """Read an address, IPv6 without its brackets; None for a name.

    ValueError for an address that is not written plainly: with a zone, which means something to one
    machine only, or as IPv4 in fewer than four parts, octal, hexadecimal, or with a dot at the end.
    """
    if "%" in host:
        raise ValueError(f"{host!r} has a zone")
    if ":" in host or not host:
        return IPv6Address(host)
    if _NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]):
        return IPv4Address(host)
    return None

"""Which addresses never leave the machine."""

from __future__ import annotations

import ipaddress


def split_address(address: str) -> tuple[str, int]:
    """Host and port of `host:port`, an IPv6 literal in brackets. ValueError when it is neither."""
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{address!r} is not host:port")
    return host.removeprefix("[").removesuffix("]"), int(port)


def is_loopback(address: str) -> bool:
    """Whether `host:port` or `dns:///host:port` is reachable from this machine only."""
    host, _ = split_address(address.removeprefix("dns:///"))
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

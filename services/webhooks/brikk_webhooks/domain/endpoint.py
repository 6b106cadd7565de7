"""Which URLs may be posted to: told when a webhook is created, not found out by its deliveries."""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from urllib.parse import urlsplit

_OUTSIDE_URI = re.compile(r"[^A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]")
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
_MAX_HOST = 253


def url_problem(url: str) -> str | None:
    """Say what is wrong with an endpoint's URL (RFC 3986, http or https); None when it will do.

    Only ASCII is accepted, so that exactly the given characters go onto the wire: an international
    host is written in its `xn--` form, anything else percent-encoded.
    """
    if _OUTSIDE_URI.search(url):
        return "holds a character that must be percent-encoded, or a host that is not in ASCII"
    if _BROKEN_ESCAPE.search(url):
        return "holds a % that is not followed by two hexadecimal digits"
    try:
        parts = urlsplit(url)
    except ValueError:
        return "has a malformed host"
    if parts.scheme not in ("http", "https"):
        return "must begin with http:// or https://"
    if "#" in url:
        return "must not have a fragment"
    if "@" in parts.netloc:
        return "must not hold credentials"
    return _authority_problem(parts.netloc)


def host_of(url: str) -> str:
    """The host of a URL that will do, an IPv6 address without its brackets."""
    return urlsplit(url).hostname or ""


def _authority_problem(authority: str) -> str | None:
    if authority.startswith("["):
        host, closed, rest = authority[1:].partition("]")
        if not closed or (rest and not rest.startswith(":")) or not _is_address(IPv6Address, host):
            return "has a malformed IPv6 address"
        port = rest[1:] if rest else None
    else:
        host, colon, digits = authority.partition(":")
        port = digits if colon else None
        if (problem := _host_problem(host)) is not None:
            return problem
    if port is not None and not (port.isdecimal() and len(port) <= 5 and 0 < int(port) < 65536):
        return "must have a port from 1 to 65535"
    return None


def _host_problem(host: str) -> str | None:
    if not host:
        return "has no host"
    labels = host.removesuffix(".").split(".")
    if len(host) > _MAX_HOST or not all(_LABEL.fullmatch(label) for label in labels):
        return "has a malformed host name"
    # Resolvers take a host that ends in a number for an IPv4 address, however oddly it is written
    # (WHATWG URL, "ends in a number").
    if _NUMBER.fullmatch(labels[-1]) and not _is_address(IPv4Address, host):
        return "has a malformed IPv4 address"
    return None


def _is_address(kind: type[IPv4Address] | type[IPv6Address], text: str) -> bool:
    try:
        # A zone would be valid for Python; it means nothing to anybody but this machine.
        return bool(kind(text)) and "%" not in text
    except AddressValueError:
        return False

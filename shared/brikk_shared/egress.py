"""Where strangers may send us: the only way to an address that somebody else has named.

Agents' endpoints and webhooks' URLs are input. A name is looked up once, every answer is checked,
and a checked address is dialled: nobody looks the name up again in between, so it cannot change its
mind (DNS rebinding).
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address
from typing import Any, TypeAlias

import aiohttp
import grpc
import structlog
from aiohttp.abc import AbstractResolver, ResolveResult

from brikk_shared.addresses import split_address
from brikk_shared.errors import (
    FieldViolation,
    InvalidArgument,
    PermissionDenied,
    Reason,
    Unavailable,
)
from brikk_shared.networks import IPAddress, IPNetwork, behind_nat64, is_public, read_literal

LookUp: TypeAlias = Callable[[str], Awaitable[Sequence[IPAddress]]]
"""Gives the addresses of a name, best first; OSError when there is none."""

_log = structlog.stdlib.get_logger(__name__)


class AddressRefusedError(PermissionError):
    """A connection that must not be made; what aiohttp reports as the `os_error` of its own."""

    def __init__(self, host: str) -> None:
        self.message = _refusal(host)
        super().__init__(errno.EACCES, self.message)


@dataclass(frozen=True, kw_only=True, slots=True)
class Address:
    """A host that may be called, with its checked addresses, best first."""

    host: str
    port: int
    ips: tuple[IPAddress, ...]

    @property
    def authority(self) -> str:
        """How the host was named, with the port: an IPv6 literal in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def target(self) -> str:
        """The same for gRPC as literals, which it tries in turn and never looks up."""
        if all(ip.version == 4 for ip in self.ips):
            return "ipv4:" + ",".join(f"{ip}:{self.port}" for ip in self.ips)
        # A target is of one family; gRPC dials IPv4 from its mapped form as well.
        mapped = (f"::ffff:{ip}" if ip.version == 4 else str(ip) for ip in self.ips)
        return "ipv6:" + ",".join(f"[{ip}]:{self.port}" for ip in mapped)

    def channel(self, options: Sequence[tuple[str, Any]] = ()) -> grpc.aio.Channel:
        """A channel to these addresses and no other, whatever becomes of the name meanwhile."""
        guard = (
            ("grpc.default_authority", self.authority),
            # A proxy would look the name up by itself.
            ("grpc.enable_http_proxy", 0),
        )
        return grpc.aio.insecure_channel(self.target, (*options, *guard))


async def _look_up(host: str) -> Sequence[IPAddress]:
    """Ask the system's resolver."""
    try:
        answers = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except ValueError as error:  # of a name that cannot be written in DNS, such as a..b
        raise socket.gaierror(socket.EAI_NONAME, str(error)) from error
    return [ip_address(sockaddr[0]) for *_, sockaddr in answers]


class Egress:
    """The guard: public unicast addresses may be called, any other only when it is allowed.

    An IPv4 address inside an IPv6 one (mapped, NAT64) is judged as what it leads to.

    Args:
        allowed: networks that may be called although they are not public.
        look_up: finds the addresses of a name.
        timeout: how long that may take.
    """

    def __init__(
        self,
        allowed: Sequence[IPNetwork] = (),
        *,
        look_up: LookUp = _look_up,
        timeout: timedelta = timedelta(seconds=3),
    ) -> None:
        self._allowed = tuple(allowed)
        self._look_up = look_up
        self._timeout = timeout

    def permits(self, ip: IPAddress) -> bool:
        """Whether an address may be called."""
        if ip.version == 6 and ip.ipv4_mapped is not None:
            return self.permits(ip.ipv4_mapped)  # on the wire it is nothing else
        if any(ip in network for network in self._allowed):
            return True
        inner = behind_nat64(ip)
        return is_public(ip) if inner is None else self.permits(inner)

    async def resolve(self, host: str, port: int) -> Address:
        """Find out where to dial a host, a literal without its brackets.

        PermissionDenied (ADDRESS_REFUSED) when one of its addresses must not be called,
        Unavailable when the name is not known, or no answer came in time.
        """
        try:
            return Address(host=host, port=port, ips=await self._checked(host))
        except AddressRefusedError as error:
            raise PermissionDenied(
                Reason.ADDRESS_REFUSED, error.message, metadata={"address": host}
            ) from error
        except OSError as error:
            raise Unavailable(
                Reason.DEPENDENCY_UNAVAILABLE,
                f"the name {host} was not found",
                metadata={"address": host},
            ) from error

    def check_literal(self, host: str, *, field: str) -> None:
        """Complain about a field whose host is a literal that must not be called.

        Names are let pass: they are looked up when they are called.
        """
        try:
            self._check_literal(host)
        except AddressRefusedError as error:
            raise _refused_field(field, host) from error

    async def check_endpoint(self, endpoint: str, *, field: str) -> None:
        """Complain about a field with a `host:port` that must not be called.

        A name that is not known, or not yet, is let pass: it is looked up again for each channel.
        """
        host, port = split_address(endpoint)
        try:
            await self.resolve(host, port)
        except PermissionDenied as error:
            raise _refused_field(field, host) from error
        except Unavailable:
            _log.info("name_not_found", host=host, field=field)

    async def channel(
        self, endpoint: str, options: Sequence[tuple[str, Any]] = ()
    ) -> grpc.aio.Channel:
        """A channel to `host:port` that dials what was checked; for the errors see `resolve`."""
        return (await self.resolve(*split_address(endpoint))).channel(options)

    def connector(self, *, limit: int, tls: ssl.SSLContext) -> aiohttp.TCPConnector:
        """What an aiohttp session connects through: at most `limit` connections at once.

        It fails with AddressRefusedError as the `os_error` of a ClientConnectorError.
        """
        return aiohttp.TCPConnector(
            limit=limit,
            ssl=tls,
            resolver=_Resolver(self._checked),
            # The only place where aiohttp shows literals as well.
            socket_factory=self._open_socket,
        )

    async def _checked(self, host: str) -> tuple[IPAddress, ...]:
        """Give the addresses of a host. AddressRefusedError, or OSError when there is none."""
        literal = self._check_literal(host)
        if literal is not None:
            return (literal,)
        async with asyncio.timeout(self._timeout.total_seconds()):
            answers = tuple(await self._look_up(host))
        for ip in answers:
            if not self.permits(ip):
                # The log alone says what the name stands for: the caller may be fishing for that.
                _log.warning("address_refused", host=host, address=str(ip))
                raise AddressRefusedError(host)
        if not answers:
            raise socket.gaierror(socket.EAI_NONAME, "no address")
        return answers

    def _check_literal(self, host: str) -> IPAddress | None:
        """Give the address that a host is, None for a name."""
        try:
            literal = read_literal(host)
        except ValueError:
            raise AddressRefusedError(host) from None
        if literal is not None and not self.permits(literal):
            raise AddressRefusedError(host)
        return literal

    def _open_socket(self, answer: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _, (host, *_) = answer
        if not self.permits(ip_address(host)):
            raise AddressRefusedError(host)
        return socket.socket(family, kind, protocol)


class _Resolver(AbstractResolver):
    """Lets aiohttp look names up through the guard."""

    def __init__(self, checked: LookUp) -> None:
        self._checked = checked

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_UNSPEC,  # noqa: ARG002 - the port is aiohttp's
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host=str(ip),
                port=port,
                family=socket.AF_INET if ip.version == 4 else socket.AF_INET6,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for ip in await self._checked(host)
        ]

    async def close(self) -> None:
        """Nothing is held."""


def _refusal(host: str) -> str:
    return f"{host} must not be called: its address is not public, nor among those allowed"


def _refused_field(field: str, host: str) -> InvalidArgument:
    return InvalidArgument(
        Reason.ADDRESS_REFUSED,
        _refusal(host),
        metadata={"address": host},
        violations=[FieldViolation(field, "must not be called")],
    )

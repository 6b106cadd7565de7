"""Which TCP ports a suite on this machine listens on, and whether they are to be had."""

from __future__ import annotations

import errno
import random
import socket
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, fields

HOST = "127.0.0.1"

# Below the ports that kernels lend to outgoing connections (Linux from 32768, macOS from 49152):
# a port found free must not be lent to a connection before its service listens.
_FREE_RANGE = range(12_000, 32_000)


@dataclass(frozen=True, kw_only=True, slots=True)
class Ports:
    """The ports of one suite: gRPC and HTTP of each service, HTTP of workers, and Valkey."""

    discovery: int = 7411
    workflow: int = 7412
    webhooks: int = 7413
    monitoring: int = 7414
    discovery_http: int = 7421
    workflow_http: int = 7422
    webhooks_http: int = 7423
    monitoring_http: int = 7424
    webhooks_worker1_http: int = 7433
    webhooks_worker2_http: int = 7434
    monitoring_worker_http: int = 7435
    valkey: int = 7430

    @classmethod
    def from_base(cls, base: int, overrides: Mapping[str, int]) -> Ports:
        """Moves the default layout so that discovery stands at `base`, then sets ports by name."""
        default = cls()
        moved = {name: port - default.discovery + base for name, port in default.items()}
        return cls(**{**moved, **overrides})

    @classmethod
    def free(cls) -> Ports:
        """Ports that nothing listens on now, so that suites can run beside one another."""
        chosen: list[int] = []
        names = cls.names()
        while len(chosen) < len(names):
            port = random.choice(_FREE_RANGE)  # noqa: S311 - not a secret
            if port not in chosen and _refusal(port) is None:
                chosen.append(port)
        return cls(**dict(zip(names, chosen, strict=True)))

    @classmethod
    def names(cls) -> list[str]:
        """What the ports are called in settings and messages."""
        return [field.name for field in fields(cls)]

    def items(self) -> Iterator[tuple[str, int]]:
        """Name and port, in the order of the names."""
        return ((name, getattr(self, name)) for name in self.names())

    def address(self, name: str) -> str:
        """`host:port` of one listener."""
        return f"{HOST}:{getattr(self, name)}"

    def problems(self, *, unused: Collection[str] = ()) -> list[str]:
        """Why these ports cannot be used now: a sentence per port that names its setting."""
        problems: list[str] = []
        owners: dict[int, str] = {}
        for name, port in self.items():
            if name in unused:
                continue
            refusal = f"is also given to {owners[port]}" if port in owners else _refusal(port)
            if refusal is not None:
                problems.append(
                    f"port {port} ({name}) {refusal}; "
                    f"give another with --port {name}=PORT or move all with --port-base"
                )
            owners.setdefault(port, name)
        return problems


def _refusal(port: int) -> str | None:
    """Why a server could not listen on a port; None when it could."""
    if not 0 < port < 65_536:
        return "is not between 1 and 65535"
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do, so that a port whose old connections linger counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            return f"is taken on {HOST}" if taken else f"cannot be had: {error.strerror}"
    return None

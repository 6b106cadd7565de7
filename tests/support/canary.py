"""A listener that must stay untouched, and names that change their minds."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ipaddress import ip_address

from brikk_shared.networks import IPAddress


class Canary:
    """Listens on 127.0.0.1. The kernel keeps who connects until `touched` asks for it."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self.port: int = listener.getsockname()[1]

    @property
    def touched(self) -> bool:
        """Whether somebody has connected since this was asked last."""
        try:
            connection, _ = self._listener.accept()
        except BlockingIOError:
            return False
        connection.close()
        return True


@contextmanager
def canary() -> Iterator[Canary]:
    """Listen on a free port."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.setblocking(False)
        yield Canary(listener)


class Rebinding:
    """A resolver whose every name has these addresses in turn, and the last one from then on."""

    def __init__(self, *addresses: str) -> None:
        self._addresses = addresses
        self.look_ups = 0

    async def __call__(self, host: str) -> Sequence[IPAddress]:
        address = self._addresses[min(self.look_ups, len(self._addresses) - 1)]
        self.look_ups += 1
        return [ip_address(address)]

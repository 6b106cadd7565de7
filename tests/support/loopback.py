"""What the services under test may call although it is not public: this machine."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Final

from brikk_shared.egress import Egress

LOOPBACK: Final = ["127.0.0.0/8", "::1/128"]
"""For the setting `egress_allowed`."""


def egress() -> Egress:
    """A guard that allows it."""
    return Egress([ip_network(each) for each in LOOPBACK])

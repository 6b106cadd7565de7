"""What the services under test may call although it is not public: this machine."""

from __future__ import annotations

from typing import Final

LOOPBACK: Final = ["127.0.0.0/8", "::1/128"]
"""For the setting `egress_allowed`."""

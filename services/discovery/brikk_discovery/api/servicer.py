"""DiscoveryService as a whole."""

from __future__ import annotations

from brikk_discovery.api.directory import DirectoryMethods
from brikk_discovery.api.leases import LeaseMethods


class DiscoveryServicer(LeaseMethods, DirectoryMethods):
    """All methods, from the files of this room."""

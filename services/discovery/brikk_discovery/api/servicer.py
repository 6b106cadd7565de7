"""DiscoveryService as a whole."""

from __future__ import annotations

from brikk_discovery.api.directory import DirectoryMethods
from brikk_discovery.api.leases import LeaseMethods
from brikk_discovery.api.outcomes import OutcomeMethods


class DiscoveryServicer(LeaseMethods, DirectoryMethods, OutcomeMethods):
    """All methods, from the files of this room."""

"""DiscoveryService as a whole."""

from __future__ import annotations

from brikk_discovery.api.directory import DirectoryMethods
from brikk_discovery.api.leases import LeaseMethods
from brikk_discovery.api.outcomes import OutcomeMethods
from brikk_discovery.api.search import SearchMethods
from brikk_discovery.api.watching import WatchMethods


class DiscoveryServicer(
    LeaseMethods, DirectoryMethods, OutcomeMethods, SearchMethods, WatchMethods
):
    """All methods, from the files of this room."""

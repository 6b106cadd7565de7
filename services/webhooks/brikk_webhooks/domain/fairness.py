"""How slots are shared, so that an endpoint that hangs or has a backlog costs others nothing."""

from __future__ import annotations

from collections.abc import Mapping


def share(slots: int, room: Mapping[str, int]) -> dict[str, int]:
    """Say how many deliveries to take for each waiting endpoint.

    Endpoints come in the order of their oldest delivery, each with how many it has room for. Slots
    are dealt in rounds of one each, so everybody gets one before anybody gets two.
    """
    shares: dict[str, int] = {}
    hungry = [endpoint for endpoint in room if room[endpoint] > 0]
    while slots > 0 and hungry:
        for endpoint in hungry[:slots]:
            shares[endpoint] = shares.get(endpoint, 0) + 1
        slots -= min(slots, len(hungry))
        hungry = [endpoint for endpoint in hungry if shares.get(endpoint, 0) < room[endpoint]]
    return shares

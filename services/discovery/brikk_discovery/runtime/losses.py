"""Chooses in each sweep who is removed, so that a broken way empties no organisation."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from datetime import datetime

import structlog

from brikk_discovery.domain.agent import AgentKey
from brikk_discovery.domain.losses import Due, Guard, Loss, judge
from brikk_discovery.runtime.metrics import Metrics
from brikk_discovery.runtime.probes import Probes
from brikk_discovery.store.standings import Standing

_log = structlog.stdlib.get_logger(__name__)


class Losses:
    """Knows the mass losses under way, for as long as this process sweeps."""

    def __init__(self, *, guard: Guard, probes: Probes, metrics: Metrics) -> None:
        self._guard = guard
        self._probes = probes
        self._held = metrics.held
        self._under_way: dict[str, Loss] = {}

    @property
    def organizations(self) -> Collection[str]:
        """Those that suffer a mass loss."""
        return self._under_way.keys()

    def clear(self) -> None:
        """Begin anew: another replica has swept, or will."""
        self._under_way.clear()
        self._held.set(0)

    def choose(
        self,
        silent: Collection[Standing],
        due: Collection[Standing],
        sizes: Mapping[str, int],
        now: datetime,
    ) -> list[AgentKey]:
        """Choose those who are to be removed now.

        Args:
            silent: the agents that have not been heard for too long.
            due: those of them whose leases have ended.
            sizes: how many agents the organisations of those due have, and of `organizations`.
        """
        silences = Counter(item.key.organization for item in silent)
        ended: defaultdict[str, list[Due]] = defaultdict(list)
        for item in due:
            verdict = self._probes.verdict(item.key, item.epoch)
            ended[item.key.organization].append(
                Due(key=item.key, end_time=item.expire_time, verdict=verdict)
            )
        removed: list[AgentKey] = []
        held = 0
        for organization in ended.keys() | self._under_way.keys():
            before = self._under_way.pop(organization, None)
            agents, unheard = sizes.get(organization, 0), silences[organization]
            judged = judge(
                self._guard, before, ended[organization], agents=agents, silent=unheard, now=now
            )
            removed += judged.removed
            held += len(judged.held)
            if judged.loss is not None:
                self._under_way[organization] = judged.loss
            if (before is None) is not (judged.loss is None):
                event = "mass_loss" if before is None else "mass_loss_over"
                _log.warning(event, organization=organization, agents=agents, silent=unheard)
        self._held.set(held)
        return removed

"""What agents offer: one capability of one agent, and one capability of all."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, NamedTuple

from packaging.version import Version

from brikk_discovery.domain.agent import Agent, Capability, Definition
from brikk_discovery.domain.filter import version_of
from brikk_discovery.domain.outcome import Observation
from brikk_discovery.domain.ranking import State

_OLDEST: Final = Version("0.dev0")


class Variant(NamedTuple):
    """A capability in one of its versions, and the service that offers it."""

    service_id: str
    capability: Capability


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Offer:
    """What is said of an agent to those who ask for a capability."""

    agent: Agent
    state: State
    variant: Variant
    observation: Observation | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """A capability that is offered now."""

    name: str
    description: str
    """In the words of one that offers its newest version."""
    agents: int
    ready: int
    versions: tuple[str, ...]
    """The newest first."""


def variants_of(definition: Definition) -> dict[str, tuple[Variant, ...]]:
    """Give what an agent offers by the capability's name: the newest version first."""
    found: dict[str, list[Variant]] = {}
    for service in definition.services:
        for item in service.capabilities:
            found.setdefault(item.name, []).append(Variant(service.service_id, item))
    return {
        name: tuple(
            sorted(variants, key=lambda each: _age(each.capability.version), reverse=True)
            if len(variants) > 1
            else variants
        )
        for name, variants in found.items()
    }


def newest_first(versions: Collection[str]) -> list[str]:
    """Order versions as PEP 440 does."""
    return sorted(versions, key=_age, reverse=True)


def _age(version: str) -> tuple[Version, str]:
    # What has no version is older than all that have one.
    return version_of(version) or _OLDEST, version

"""What a caller wants of those who offer a capability, beyond the capability."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from packaging.specifiers import InvalidSpecifier, Specifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from brikk_discovery.domain.agent import Definition, Protocol
from brikk_shared.errors import FieldViolation, InvalidArgument, Reason
from brikk_shared.label_selector import MalformedSelector, Requirement, parse_selector


# Compared by identity: the same wishes are compiled to the same filter.
@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Filter:
    """Wishes that all must hold."""

    zone: str = ""
    protocol: Protocol | None = None
    requirements: tuple[Requirement, ...] = ()
    versions: str = ""

    def admits(self, definition: Definition) -> bool:
        """Judge an agent by what it says of itself as a whole."""
        return (
            (not self.zone or definition.zone == self.zone)
            and (self.protocol is None or definition.protocol is self.protocol)
            and all(requirement.holds(definition.labels) for requirement in self.requirements)
        )

    def admits_version(self, version: str) -> bool:
        """Judge the version of a capability. What has none is in no range."""
        return not self.versions or _in_range(self.versions, version)


ANY: Final = Filter()


@lru_cache(maxsize=1024)
def compile_filter(
    version_range: str = "", selector: str = "", zone: str = "", protocol: Protocol | None = None
) -> Filter:
    """Compile wishes as callers write them; empty ones hold always.

    Raises:
        InvalidArgument: INVALID_FIELD, with the field and the position of the first character that
            cannot be read, counted from 1.
    """
    _check_range(version_range)
    try:
        requirements = parse_selector(selector)
    except MalformedSelector as error:
        raise _malformed("selector", error.position, error.problem) from error
    return Filter(
        zone=zone, protocol=protocol, requirements=requirements, versions=version_range.strip()
    )


@lru_cache(maxsize=4096)
def version_of(text: str) -> Version | None:
    """Read a version as PEP 440 orders them; None when there is none."""
    try:
        return Version(text)
    except InvalidVersion:
        return None


def prefix_of(capability: str) -> str:
    """Give what the names below `prefix.*` begin with; empty when an exact name is asked for."""
    return capability[:-1] if capability.endswith(".*") else ""


def _check_range(text: str) -> None:
    position = 1
    for clause in text.split(",") if text.strip() else ():
        try:
            Specifier(clause.strip())
        except InvalidSpecifier as error:
            start = position + len(clause) - len(clause.lstrip())
            found = repr(clause.strip()) if clause.strip() else "nothing"
            raise _malformed(
                "version_range", start, f"expected a PEP 440 clause such as '>=1.2', found {found}"
            ) from error
        position += len(clause) + 1


@lru_cache(maxsize=1024)
def _specifiers(text: str) -> SpecifierSet:
    return SpecifierSet(text)


@lru_cache(maxsize=16384)
def _in_range(text: str, version: str) -> bool:
    parsed, specifiers = version_of(version), _specifiers(text)
    # Pre-releases only for those who name one: left to itself, the library would also offer them
    # where no release is in range, and sees but one version at a time.
    return parsed is not None and specifiers.contains(
        parsed, prereleases=bool(specifiers.prereleases)
    )


def _malformed(field: str, position: int, problem: str) -> InvalidArgument:
    description = f"at character {position}: {problem}"
    metadata: Mapping[str, str] = {"field": field, "position": str(position)}
    return InvalidArgument(
        Reason.INVALID_FIELD,
        f"{field} {description}",
        metadata=metadata,
        violations=[FieldViolation(field, description)],
    )

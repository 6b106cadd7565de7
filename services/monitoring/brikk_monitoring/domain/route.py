"""The routing tree: which places in it an alert goes to, and with which others it is told of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from brikk_monitoring.domain.inhibition import InhibitionRule
from brikk_monitoring.domain.matcher import Labels, Matchers, check_matchers, match_all
from brikk_shared.errors import InvalidArgument, invalid_field

ALL_LABELS: Final = "..."
"""Alone in `group_by`: each alert by itself."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Route:
    """A place in the tree as people say it; what is unset is as at the route above."""

    id: str
    parent: str = ""
    matchers: Matchers = ()
    continue_matching: bool = False
    channels: tuple[str, ...] = ()
    """Ids of channels."""
    escalation_policy: str = ""
    """Id of a policy."""
    group_by: tuple[str, ...] = ()
    group_wait: timedelta | None = None
    group_interval: timedelta | None = None
    repeat_interval: timedelta | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Destination:
    """A route with all that it has from those above."""

    route: str
    channels: tuple[str, ...] = ()
    escalation_policy: str = ""
    group_by: tuple[str, ...] = ()
    group_wait: timedelta = timedelta(seconds=30)
    group_interval: timedelta = timedelta(minutes=5)
    repeat_interval: timedelta = timedelta(hours=4)

    def group_labels(self, labels: Labels) -> dict[str, str]:
        """Return the labels that tell the group of an alert from others."""
        if self.group_by == (ALL_LABELS,):
            return dict(sorted(labels.items()))
        return {name: labels[name] for name in sorted(self.group_by) if name in labels}

    def below(self, route: Route) -> Destination:
        """Return what a route that hangs here makes of it."""
        tells = bool(route.channels or route.escalation_policy)
        return Destination(
            route=route.id,
            channels=route.channels if tells else self.channels,
            escalation_policy=route.escalation_policy if tells else self.escalation_policy,
            group_by=route.group_by or self.group_by,
            group_wait=_given(route.group_wait, self.group_wait),
            group_interval=_given(route.group_interval, self.group_interval),
            repeat_interval=_given(route.repeat_interval, self.repeat_interval),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class RoutingTree:
    """The routes of an organisation, the root first and each before those below it."""

    routes: tuple[Route, ...] = ()
    inhibition_rules: tuple[InhibitionRule, ...] = ()

    def check(self) -> None:
        """Make sure that it is a tree that tells somebody.

        Raises:
            InvalidArgument: it is not.
        """
        known: set[str] = set()
        for place, route in enumerate(self.routes):
            where = f"routing_tree.routes[{place}]"
            check_matchers(f"{where}.matchers", route.matchers)
            if route.id in known:
                raise invalid_field(f"{where}.id", f"{route.id!r} names another route")
            if place == 0:
                _check_root(route)
            elif route.parent not in known:
                raise invalid_field(
                    f"{where}.parent", f"{route.parent!r} names no route before this one"
                )
            if route.channels and route.escalation_policy:
                raise invalid_field(f"{where}.channels", "must be empty beside a policy")
            if ALL_LABELS in route.group_by and route.group_by != (ALL_LABELS,):
                raise invalid_field(f"{where}.group_by", f"{ALL_LABELS} must stand alone")
            known.add(route.id)
        for place, rule in enumerate(self.inhibition_rules):
            rule.check(f"routing_tree.inhibition_rules[{place}]")


class Routing:
    """A tree made ready for many alerts."""

    def __init__(self, tree: RoutingTree) -> None:
        self._below: dict[str, list[Route]] = {route.id: [] for route in tree.routes}
        self.destinations: dict[str, Destination] = {}
        """By the id of the route."""
        self._root = tree.routes[0] if tree.routes else None
        for route in tree.routes:
            above = self.destinations.get(route.parent, Destination(route=""))
            self.destinations[route.id] = above.below(route)
            if route is not self._root:
                self._below[route.parent].append(route)

    def find(self, labels: Labels) -> list[Destination]:
        """Return where an alert goes: to the deepest routes that it matches."""
        if self._root is None:
            return []
        return [self.destinations[route.id] for route in self._descend(self._root, labels)]

    def _descend(self, route: Route, labels: Labels) -> Iterator[Route]:
        ended = True
        for child in self._below[route.id]:
            if match_all(child.matchers, labels):
                ended = False
                yield from self._descend(child, labels)
                if not child.continue_matching:
                    return
        if ended:
            yield route


def _check_root(route: Route) -> None:
    where = "routing_tree.routes[0]"
    problem: InvalidArgument | None = None
    if route.parent:
        problem = invalid_field(f"{where}.parent", "must be empty: it is the root")
    elif route.matchers or route.continue_matching:
        problem = invalid_field(f"{where}.matchers", "must be empty: all alerts match the root")
    elif not (route.channels or route.escalation_policy):
        problem = invalid_field(f"{where}.channels", "must name somebody: it is the root")
    if problem is not None:
        raise problem


def _given(length: timedelta | None, above: timedelta) -> timedelta:
    return above if length is None else length

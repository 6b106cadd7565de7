"""Of which alerts nobody is told because others fire that explain them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from brikk_monitoring.domain.matcher import Labels, Matchers, check_matchers, match_all

_Key = tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class InhibitionRule:
    """Alerts that match the target are not told of while one fires that matches the source."""

    source_matchers: Matchers
    target_matchers: Matchers
    equal: tuple[str, ...] = ()
    """Labels that must be the same in both."""

    def check(self, field: str) -> None:
        """Make sure that its regular expressions are such.

        Raises:
            InvalidArgument: one is not.
        """
        check_matchers(f"{field}.source_matchers", self.source_matchers)
        check_matchers(f"{field}.target_matchers", self.target_matchers)

    def key(self, labels: Labels) -> _Key:
        """Return what must be the same in both."""
        return tuple(labels.get(name, "") for name in self.equal)


class Inhibitors:
    """The alerts that fire, made ready to be asked which others they inhibit.

    Args:
        firing: labels of all alerts that fire, by id, whether people are told of them or not.
    """

    def __init__(self, rules: Sequence[InhibitionRule], firing: Mapping[str, Labels]) -> None:
        self._rules = rules
        # The first source of each key, and the first that is no target itself: an alert that
        # matches both sides is inhibited only by such.
        self._any: list[dict[_Key, str]] = [{} for _ in rules]
        self._plain: list[dict[_Key, str]] = [{} for _ in rules]
        for alert_id, labels in sorted(firing.items()):
            for number, rule in enumerate(rules):
                if match_all(rule.source_matchers, labels):
                    key = rule.key(labels)
                    self._any[number].setdefault(key, alert_id)
                    if not match_all(rule.target_matchers, labels):
                        self._plain[number].setdefault(key, alert_id)

    def inhibitor_of(self, labels: Labels) -> str | None:
        """Return the id of an alert that inhibits one with these labels; None when none does."""
        for number, rule in enumerate(self._rules):
            if not (self._any[number] and match_all(rule.target_matchers, labels)):
                continue
            two_sided = match_all(rule.source_matchers, labels)
            found = (self._plain if two_sided else self._any)[number].get(rule.key(labels))
            if found is not None:
                return found
        return None

"""Typed access to an object that somebody wrote: what is wrong is reported and has a default."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from typing import cast

from brikk_workflow.domain.duration import format_duration, parse_duration
from brikk_workflow.domain.path import Path
from brikk_workflow.domain.payload import Json, PayloadRefused, check
from brikk_workflow.domain.problems import Report
from brikk_workflow.domain.scope import kind_of


class Fields:
    """The members of an object at a path."""

    def __init__(
        self,
        raw: object,
        path: Path,
        report: Report,
        *,
        known: Collection[str],
        required: Collection[str] = (),
    ) -> None:
        self.path = path
        self._report = report
        self._members: Mapping[str, object] = {}
        if not isinstance(raw, Mapping):
            report.value(path, f"expected an object, found {kind_of(raw)}")
            return
        self._members = raw
        for key in raw:
            if key not in known:
                hint = report.nearest(key, known) or f"; known are {', '.join(known)}"
                report.key((*path, key), f"there is no key `{key}` here{hint}")
        for key in required:
            if key not in raw:
                report.value(path, f"lacks `{key}`")

    def __contains__(self, key: str) -> bool:
        return key in self._members

    def __getitem__(self, key: str) -> object:
        return self._members[key]

    def inner(self, key: str, *, known: Collection[str], required: Collection[str] = ()) -> Fields:
        """Return the object under a key, empty if there is none."""
        raw = self._members.get(key, {})
        if key not in self._members:
            required = ()
        return Fields(raw, (*self.path, key), self._report, known=known, required=required)

    def items(self, key: str, *, fewest: int = 0, most: int) -> list[object]:
        """Return the list under a key, empty if there is none."""
        raw = self._members.get(key, [])
        if isinstance(raw, str) or not isinstance(raw, Sequence):
            self.wrong(key, f"expected a list, found {kind_of(raw)}")
            return []
        if key in self._members and not fewest <= len(raw) <= most:
            self.wrong(key, f"holds {len(raw)} items; {fewest} to {most} are accepted")
        return list(raw[:most])

    def text(
        self, key: str, *, longest: int, form: tuple[re.Pattern[str], str] | None = None
    ) -> str:
        """Return the text under a key, "" if there is none; `form` is a pattern and its name."""
        if key not in self._members:
            return ""
        return self.as_text(self._members[key], (key,), longest=longest, form=form)

    def as_text(
        self,
        raw: object,
        at: Path,
        *,
        longest: int,
        form: tuple[re.Pattern[str], str] | None = None,
    ) -> str:
        """Return a value below this object as a text, "" if it is none."""
        path = (*self.path, *at)
        if not isinstance(raw, str):
            self._report.value(path, f"expected a string, found {kind_of(raw)}")
        elif len(raw) > longest:
            self._report.value(path, f"is longer than {longest} characters")
        elif form is not None and not form[0].fullmatch(raw):
            self._report.value(path, f"{raw!r} is not accepted: {form[1]}")
        else:
            return raw
        return ""

    def one_of(self, key: str, words: Sequence[str], default: str) -> str:
        """Return the word under a key."""
        raw = self._members.get(key, default)
        if raw in words:
            return str(raw)
        hint = self._report.nearest(raw, words) if isinstance(raw, str) else ""
        self.wrong(key, f"expected one of {', '.join(words)}{hint}")
        return default

    def number(self, key: str, default: float, lowest: float, highest: float) -> float:
        """Return the number under a key."""
        raw = self._members.get(key, default)
        if isinstance(raw, bool) or not isinstance(raw, float | int):
            self.wrong(key, f"expected a number, found {kind_of(raw)}")
        elif not lowest <= raw <= highest:
            self.wrong(key, f"is {raw:g}; it must be from {lowest:,.15g} to {highest:,.15g}")
        else:
            return float(raw)
        return default

    def whole(self, key: str, default: int, lowest: int, highest: int) -> int:
        """Return the whole number under a key."""
        number = self.number(key, default, lowest, highest)
        if number != int(number):
            self.wrong(key, f"is {number:g}; it must be a whole number")
        return int(number)

    def duration(
        self, key: str, default: timedelta, lowest: timedelta, highest: timedelta
    ) -> timedelta:
        """Return the duration under a key: a timedelta or a text such as `5s`."""
        raw = self._members.get(key, default)
        if isinstance(raw, str):
            try:
                raw = parse_duration(raw)
            except ValueError as error:
                self.wrong(key, str(error))
                return default
        if not isinstance(raw, timedelta):
            self.wrong(key, f"expected a duration such as 5s, found {kind_of(raw)}")
        elif not lowest <= raw <= highest:
            limits = f"{format_duration(lowest)} to {format_duration(highest)}"
            self.wrong(key, f"is {format_duration(raw)}; it must be from {limits}")
        else:
            return raw
        return default

    def payload(self, key: str, *, max_bytes: int, max_depth: int) -> Json:
        """Return any value under a key, null if there is none or it cannot be stored."""
        value = cast("Json", self._members.get(key))
        try:
            check(value, key, max_bytes=max_bytes, max_depth=max_depth)
        except PayloadRefused as refusal:
            self._report.value((*self.path, key, *refusal.path), refusal.problem)
            return None
        return value

    def wrong(self, key: str, problem: str) -> None:
        """Report a problem with the value under a key."""
        self._report.value((*self.path, key), problem)

"""Numbers that people write in more than one way."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from brikk_shared.path import Path
from brikk_workflow.domain.kinds import Quorum, Tolerance
from brikk_workflow.domain.payload import Json
from brikk_workflow.domain.problems import Report
from brikk_workflow.domain.shapes import UNREAD, Number, Whole

_ALL = "all"
_ANY = "any"
_SHARE = r"([0-9]{1,3}(?:\.[0-9]{1,3})?)%"


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in the organisation's currency, which becomes millionths of it."""

    most: int

    def read(self, raw: object, path: Path, report: Report) -> Any:
        """Read one."""
        amount = Number(1e-6, self.most).read(raw, path, report)
        return amount if amount is UNREAD else round(amount * 1_000_000)

    def write(self, value: int) -> float:
        """Write one."""
        return value / 1_000_000

    def blank(self) -> int:
        """Stand for one."""
        return 1

    def schema(self) -> dict[str, Json]:
        """Tell editors what it is."""
        return Number(1e-6, self.most).schema()


@dataclass(frozen=True, slots=True)
class Join:
    """How many steps a step waits for: `all`, which becomes None, `any`, or a number."""

    most: int

    def read(self, raw: object, path: Path, report: Report) -> Any:
        """Read one."""
        if isinstance(raw, str):
            if raw not in (_ALL, _ANY):
                hint = report.nearest(raw, (_ALL, _ANY))
                report.value(path, f"expected all, any or a number{hint}")
                return UNREAD
            return None if raw == _ALL else 1
        return Whole(1, self.most).read(raw, path, report)

    def write(self, value: int) -> int | str:
        """Write one."""
        return _ANY if value == 1 else value

    def blank(self) -> None:
        """Stand for one."""
        return

    def schema(self) -> dict[str, Json]:
        """Tell editors what it is."""
        return {"anyOf": [{"enum": [_ALL, _ANY]}, Whole(1, self.most).schema()]}


@dataclass(frozen=True, slots=True)
class Part:
    """How many of some items, `least` to `most` of them, or which share of them, as in `20%`."""

    make: type[Tolerance | Quorum]
    least: int
    most: int

    def read(self, raw: object, path: Path, report: Report) -> Any:
        """Read one."""
        if isinstance(raw, str):
            if share := re.fullmatch(_SHARE, raw):
                percent = Number(0.001 if self.least else 0, 100).read(
                    float(share[1]), path, report
                )
                return percent if percent is UNREAD else self.make(share=percent / 100)
            if not re.fullmatch("[0-9]{1,6}", raw):
                report.value(path, f"{raw!r} is not accepted: write a number, or a share as in 20%")
                return UNREAD
            raw = int(raw)
        items = Whole(self.least, self.most).read(raw, path, report)
        return items if items is UNREAD else self.make(items=items)

    def write(self, value: Tolerance | Quorum) -> int | str:
        """Write one."""
        return (
            f"{value.share * 100:.3f}".rstrip("0").rstrip(".") + "%" if value.share else value.items
        )

    def blank(self) -> Tolerance | Quorum:
        """Stand for one."""
        return self.make()

    def schema(self) -> dict[str, Json]:
        """Tell editors what it is."""
        share: Json = {"type": "string", "pattern": f"^(?:{_SHARE}|[0-9]{{1,6}})$"}
        return {"anyOf": [Whole(self.least, self.most).schema(), share]}

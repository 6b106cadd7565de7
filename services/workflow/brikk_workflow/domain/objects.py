"""The objects of the workflow language: which keys each has, and what is made of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from datetime import timedelta
from typing import Any

from brikk_shared.cel.values import kind_of
from brikk_shared.path import Path
from brikk_workflow.domain.duration import format_duration
from brikk_workflow.domain.payload import Json
from brikk_workflow.domain.problems import Report
from brikk_workflow.domain.shapes import UNREAD, Shape

_EMPTY: tuple[object, ...] = (None, "", [], {})


@dataclass(frozen=True, slots=True)
class Key:
    """A key of an object; `help` says what it is for, `attribute` where its value goes."""

    name: str
    shape: Shape
    help: str
    attribute: str = ""
    required: bool = False

    @property
    def goes_to(self) -> str:
        """The name of the member that is made of it."""
        return self.attribute or self.name


class Object:
    """An object that becomes what `make` makes of its members; those that are absent are left out.

    So what is unset has the default of what is made.
    """

    def __init__(self, make: Callable[..., Any], *keys: Key) -> None:
        self.keys = {key.name: key for key in keys}
        self._make = make
        self._defaults = _defaults(make)

    def read(self, raw: object, path: Path, report: Report) -> Any:
        """Read one."""
        members = self.members(raw, path, report)
        return UNREAD if members is None else self._make(**members)

    def members(self, raw: object, path: Path, report: Report) -> dict[str, Any] | None:
        """Return the values that go into what is made, None if this is no object."""
        if not isinstance(raw, Mapping):
            report.value(path, f"expected an object, found {kind_of(raw)}")
            return None
        for name in raw:
            if name not in self.keys:
                hint = report.nearest(name, self.keys) or f"; known are {', '.join(self.keys)}"
                report.key((*path, name), f"there is no key `{name}` here{hint}")
        members: dict[str, Any] = {}
        for key in self.keys.values():
            value = UNREAD
            if key.name in raw:
                value = key.shape.read(raw[key.name], (*path, key.name), report)
            elif key.required:
                report.value(path, f"lacks `{key.name}`")
            if value is not UNREAD:
                members[key.goes_to] = value
            elif key.required:
                members[key.goes_to] = key.shape.blank()
        return members

    def write(self, made: Any, *, leave_out: Collection[str] = ()) -> dict[str, Any]:
        """Return the members from which this was made, defaults and all but what is empty."""
        members: dict[str, Any] = {}
        for key in self.keys.values():
            if key.name in leave_out:
                continue
            value = getattr(made, key.goes_to)
            written = None if value is None else key.shape.write(value)
            if value != self._defaults.get(key.goes_to, MISSING) or written not in _EMPTY:
                members[key.name] = written
        return members

    def blank(self) -> Any:
        """Stand for one."""
        required = (key for key in self.keys.values() if key.required)
        return self._make(**{key.goes_to: key.shape.blank() for key in required})

    def schema(self) -> dict[str, Json]:
        """Tell editors what it is."""
        properties: dict[str, Json] = {}
        for key in self.keys.values():
            schema: dict[str, Json] = {"description": key.help, **key.shape.schema()}
            default = _plain(self._defaults.get(key.goes_to))
            if default:
                schema["default"] = default
            properties[key.name] = schema
        return {
            "type": "object",
            "properties": properties,
            "required": [key.name for key in self.keys.values() if key.required],
            "additionalProperties": False,
        }


def _defaults(made: object) -> Mapping[str, Any]:
    if not is_dataclass(made):
        return {}
    return {
        field.name: field.default if field.default_factory is MISSING else field.default_factory()
        for field in fields(made)
        if field.default is not MISSING or field.default_factory is not MISSING
    }


def _plain(default: Any) -> Json:
    """Return a default as people write it; None for those that need not be told."""
    plain: Json = format_duration(default) if isinstance(default, timedelta) else default
    return plain if isinstance(plain, str | float | int) else None

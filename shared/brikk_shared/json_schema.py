"""JSON Schema (draft 2020-12) for inputs and outputs, in bounded time and without fetching.

What can take exponential or quadratic time in `jsonschema` is replaced or refused: `pattern` runs
in RE2, `uniqueItems` compares canonical JSON, the keywords that are applied are counted, and the
values that go into messages print themselves in a few words. What a plain schema accepts at a
glance is not put to `jsonschema` at all.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from functools import cache, lru_cache
from itertools import islice
from typing import Any, TypeAlias
from urllib.parse import urljoin

from jsonschema import Draft202012Validator, ValidationError
from jsonschema.validators import extend
from jsonschema_specifications import REGISTRY
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from brikk_shared.errors import FieldViolation
from brikk_shared.glance import glance
from brikk_shared.path import Path, written
from brikk_shared.pattern import compile_pattern

MAX_PROBLEMS = 20
MAX_EFFORT = 100_000
"""What one check may cost: 1 for each keyword applied, more for long lists and objects."""

# A double no longer tells larger whole numbers apart.
_EXACT = 1 << 53
_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_REFUSED = {
    "$id": "is not supported: a schema stands for itself",
    "$dynamicRef": "is not supported: use `$ref`",
    "patternProperties": "is not supported: use `properties` and `propertyNames`",
    "unevaluatedItems": "is not supported: use `items`",
    "unevaluatedProperties": "is not supported: use `additionalProperties`",
}
_ONE = frozenset(
    {"additionalProperties", "contains", "else", "if", "items", "not", "propertyNames", "then"}
)
_SEVERAL = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_NAMED = frozenset({"$defs", "dependentSchemas", "properties"})

# The signature that jsonschema gives to a keyword: validator, its value, instance, schema.
_Keyword: TypeAlias = Callable[[Any, Any, Any, Any], Iterable[ValidationError] | None]

_effort: ContextVar[int] = ContextVar("effort")


class SchemaInvalid(Exception):
    """A schema that is not accepted: each problem with the path to its place in the schema."""

    def __init__(self, problems: list[tuple[Path, str]]) -> None:
        super().__init__("; ".join(message for _, message in problems))
        self.problems = problems


class Schema:
    """A compiled schema."""

    def __init__(self, schema: Mapping[str, object]) -> None:
        self._accepts = glance(schema)
        self._validator = _validator(schema)

    def violations(self, value: object, field: str) -> list[FieldViolation]:
        """Return where the value does not match, at most MAX_PROBLEMS places; `field` names it."""
        if self._accepts is not None and self._accepts(value):
            return []
        try:
            problems = _problems(self._validator, value, MAX_PROBLEMS)
        except _TooCostly:
            return [FieldViolation(field, "takes too long to check against its schema")]
        return [FieldViolation(written((field, *path)), problem) for path, problem in problems]


def compile_schema(schema: Mapping[str, object]) -> Schema:
    """Compile a schema. Raises SchemaInvalid with every problem found."""
    try:
        found = _problems(_metaschema(), schema, MAX_PROBLEMS)
    except _TooCostly:
        raise SchemaInvalid([((), "takes too long to check")]) from None
    problems = [(path, f"is no JSON Schema: {problem}") for path, problem in found]
    if not problems:
        problems = list(islice(_own_problems(schema), MAX_PROBLEMS))
    if problems:
        raise SchemaInvalid(problems)
    return Schema(schema)


def _own_problems(root: Mapping[str, object]) -> Iterator[tuple[Path, str]]:
    """Find what is valid JSON Schema and is refused all the same."""
    registry: Registry[Any] = Registry().with_resource("", DRAFT202012.create_resource(root))
    for path, schema in _subschemas(root, ()):
        for keyword in _REFUSED.keys() & schema.keys():
            yield (*path, keyword), _REFUSED[keyword]
        if schema.get("$schema", _DIALECT) != _DIALECT:
            yield (*path, "$schema"), f"is not supported: the dialect is {_DIALECT}"
        reference = schema.get("$ref")
        if isinstance(reference, str) and not reference.startswith("#"):
            yield (*path, "$ref"), "leads out of the schema: nothing is fetched; use `$defs`"
        elif isinstance(reference, str):
            try:
                registry.resolver().lookup(reference)
            except Unresolvable:
                yield (*path, "$ref"), f"leads nowhere: there is no {reference}"
        pattern = schema.get("pattern")
        if isinstance(pattern, str):
            try:
                compile_pattern(pattern)
            except ValueError as error:
                yield (*path, "pattern"), f"is not accepted by RE2: {error}"


def _subschemas(schema: object, path: Path) -> Iterator[tuple[Path, Mapping[str, object]]]:
    """Yield every schema within a schema that the metaschema accepts; booleans are left out."""
    if not isinstance(schema, Mapping):
        return
    yield path, schema
    for keyword, value in schema.items():
        if keyword in _ONE:
            yield from _subschemas(value, (*path, keyword))
        elif keyword in _SEVERAL and isinstance(value, Sequence):
            for index, item in enumerate(value):
                yield from _subschemas(item, (*path, keyword, index))
        elif keyword in _NAMED and isinstance(value, Mapping):
            for name, item in value.items():
                yield from _subschemas(item, (*path, keyword, name))


class _TooCostly(Exception):
    """The check was given up."""


def _problems(validator: Draft202012Validator, value: object, most: int) -> list[tuple[Path, str]]:
    started = _effort.set(0)
    try:
        errors = islice(validator.iter_errors(_terse(value)), most)
        return [(tuple(error.absolute_path), error.message[:500]) for error in errors]
    except RecursionError:
        raise _TooCostly from None
    finally:
        _effort.reset(started)


def _validator(schema: Mapping[str, object]) -> Draft202012Validator:
    registry: Registry[Any] = Registry()  # empty: it fetches nothing
    return _validator_type()(_terse_object(schema), registry=registry)


@cache
def _metaschema() -> Draft202012Validator:
    """Return what checks schemas: the metaschema's parts in one, five times as fast as they are.

    Each part would walk the whole schema, and complain of the same.
    """
    keywords: dict[str, object] = {}
    definitions: dict[str, object] = {}
    for part in Draft202012Validator.META_SCHEMA["allOf"]:
        vocabulary = REGISTRY.contents(urljoin(_DIALECT, part["$ref"]))
        keywords |= vocabulary["properties"]
        definitions |= vocabulary.get("$defs", {})
    whole = {"type": ["object", "boolean"], "properties": keywords, "$defs": definitions}
    # A part that names the whole names itself from now on.
    text = json.dumps(whole).replace('"$dynamicRef": "#meta"', '"$ref": "#"')
    return _validator(json.loads(text))


@cache
def _validator_type() -> type[Draft202012Validator]:
    keywords: dict[str, _Keyword] = dict(Draft202012Validator.VALIDATORS)
    keywords |= {"pattern": _pattern, "uniqueItems": _unique_items}
    counted = {name: _counted(keyword) for name, keyword in keywords.items()}
    # The stub of jsonschema leaves `extend` without types.
    made: type[Draft202012Validator] = extend(  # type: ignore[no-untyped-call]
        Draft202012Validator, validators=counted
    )
    return made


def _counted(keyword: _Keyword) -> _Keyword:
    def apply(
        validator: Any, value: Any, instance: Any, schema: Any
    ) -> Iterable[ValidationError] | None:
        effort = _effort.get() + 1 + _length(value) + _length(instance)
        if effort > MAX_EFFORT:
            raise _TooCostly
        _effort.set(effort)
        return keyword(validator, value, instance, schema)

    return apply


def _length(value: object) -> int:
    """Return what going once through a value may cost, in applications of a keyword."""
    if isinstance(value, str):
        return len(value) >> 10
    return len(value) >> 4 if isinstance(value, Sequence | Mapping) else 0


def _pattern(_: Any, pattern: str, instance: object, __: Any) -> Iterator[ValidationError]:
    if isinstance(instance, str) and not _matcher(pattern)(instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


@lru_cache(maxsize=1000)
def _matcher(pattern: str) -> Callable[[str], bool]:
    return compile_pattern(pattern)


def _unique_items(_: Any, wanted: bool, instance: object, __: Any) -> Iterator[ValidationError]:
    if not wanted or isinstance(instance, str) or not isinstance(instance, Sequence):
        return
    if len({json.dumps(item, sort_keys=True) for item in instance}) < len(instance):
        yield ValidationError(f"{instance!r} has equal items")


class _TerseText(str):
    __slots__ = ()

    def __repr__(self) -> str:
        return str.__repr__(self if len(self) <= 60 else f"{self[:60]}…")


class _TerseList(list[object]):
    def __repr__(self) -> str:
        return list.__repr__(self) if len(self) <= 5 else f"a list of {len(self)} items"


class _TerseObject(dict[str, object]):
    def __repr__(self) -> str:
        return "the object"


def _terse(value: object) -> object:
    """Return the value with whole numbers as integers, in types that print in a few words."""
    if isinstance(value, str):
        return _TerseText(value)
    if isinstance(value, float) and value.is_integer() and abs(value) <= _EXACT:
        return int(value)
    if isinstance(value, Mapping):
        return _terse_object(value)
    if isinstance(value, Sequence):
        return _TerseList(_terse(item) for item in value)
    return value


def _terse_object(value: Mapping[str, object]) -> dict[str, object]:
    return _TerseObject((key, _terse(item)) for key, item in value.items())

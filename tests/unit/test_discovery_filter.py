"""Filters: what each wish admits, and where a malformed one is wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from brikk_discovery.domain.agent import Capability, Definition, Protocol, Service
from brikk_discovery.domain.filter import Filter, compile_filter, prefix_of
from brikk_discovery.domain.offer import newest_first, variants_of
from brikk_shared.errors import InvalidArgument
from brikk_shared.label_selector import parse_selector

KEYS = st.sampled_from(["tier", "region", "in", "notin", "brikk.dev/team"])
VALUES = st.sampled_from(["", "gold", "eu", "us", "in", "notin", "v1.2"])
LABELS = st.dictionaries(KEYS, VALUES)
OPERATORS = ["=", "==", "!=", "in", "notin", "?", "!"]
SPACES = st.sampled_from(["", " ", "  ", "\t"])


def definition(
    labels: dict[str, str] | None = None,
    *,
    zone: str = "",
    protocol: Protocol = Protocol.BRIKK,
    versions: tuple[str, ...] = (),
) -> Definition:
    services = tuple(
        Service(service_id=f"s{at}", capabilities=(Capability(name="a", version=version),))
        for at, version in enumerate(versions)
    )
    return Definition(
        endpoint="127.0.0.1:9000",
        labels=labels or {},
        zone=zone,
        protocol=protocol,
        services=services,
    )


def selects(selector: str, labels: dict[str, str]) -> bool:
    return compile_filter(selector=selector).admits(definition(labels))


def refused(**wishes: str) -> InvalidArgument:
    with pytest.raises(InvalidArgument) as caught:
        compile_filter(**wishes)
    return caught.value


@st.composite
def clauses(draw: st.DrawFn) -> tuple[str, tuple[str, str, tuple[str, ...]]]:
    """A requirement as text, with odd spacing, and as what it means."""
    key, operator = draw(KEYS), draw(st.sampled_from(OPERATORS))

    def space() -> str:
        return draw(SPACES)

    if operator == "?":
        return f"{space()}{key}{space()}", (key, operator, ())
    if operator == "!":
        return f"{space()}!{space()}{key}{space()}", (key, operator, ())
    if operator in ("in", "notin"):
        values = draw(st.lists(VALUES, min_size=1, max_size=3))
        listed = ",".join(f"{space()}{value}{space()}" for value in values)
        return f"{key} {space()}{operator}{space()}({listed}){space()}", (
            key,
            operator,
            tuple(values),
        )
    value = draw(VALUES)
    return f"{space()}{key}{space()}{operator}{space()}{value}{space()}", (key, operator, (value,))


def means(clause: tuple[str, str, tuple[str, ...]], labels: dict[str, str]) -> bool:
    """What Kubernetes documents, in the plainest words."""
    key, operator, values = clause
    if operator == "?":
        return key in labels
    if operator == "!":
        return key not in labels
    if operator in ("=", "==", "in"):
        return key in labels and labels[key] in values
    return key not in labels or labels[key] not in values


@given(wanted=st.lists(clauses(), min_size=1, max_size=4), labels=LABELS)
def test_selectors_mean_what_kubernetes_documents(
    wanted: list[tuple[str, tuple[str, str, tuple[str, ...]]]], labels: dict[str, str]
) -> None:
    selector = ",".join(text for text, _ in wanted)
    assert selects(selector, labels) == all(means(clause, labels) for _, clause in wanted)


@given(st.text(alphabet="ab=!(), \tin<>notin", max_size=12))
def test_any_text_is_read_or_refused_within_it(text: str) -> None:
    try:
        compile_filter(selector=text)
    except InvalidArgument as error:
        assert error.metadata["field"] == "selector"
        assert 1 <= int(error.metadata["position"]) <= len(text) + 1


@pytest.mark.parametrize("selector", ["", "  ", "\n"])
def test_an_empty_selector_asks_for_nothing(selector: str) -> None:
    assert parse_selector(selector) == ()


@pytest.mark.parametrize(
    ("selector", "position", "problem"),
    [
        ("tier=gold,", 11, "expected a key or '!', found the end"),
        (",tier", 1, "expected a key or '!', found ','"),
        ("tier=gold region=eu", 11, "expected a comma or the end, found 'region'"),
        ("tier gold", 6, "expected =, ==, !=, in, notin, a comma or the end, found 'gold'"),
        ("region in eu", 11, "expected '(', found 'eu'"),
        ("region in (eu,us", 17, "expected a comma or ')', found the end"),
        ("region in (eu us)", 15, "expected a comma or ')', found 'us'"),
        ("!=x", 1, "expected a key or '!', found '!='"),
        ("!", 2, "expected a key, found the end"),
        ("cpu > 4", 5, "expected =, ==, !=, in, notin, a comma or the end, found '>'"),
        ("a===b", 4, "expected a comma or the end, found '='"),
    ],
)
def test_a_malformed_selector_is_refused_where_it_is_wrong(
    selector: str, position: int, problem: str
) -> None:
    error = refused(selector=selector)
    assert error.message == f"selector at character {position}: {problem}"
    assert error.metadata == {"field": "selector", "position": str(position)}
    assert [each.field for each in error.violations] == ["selector"]


@pytest.mark.parametrize(
    ("text", "position", "found"),
    [
        ("1.2", 1, "'1.2'"),
        (">=1.2, <two", 8, "'<two'"),
        (">=1.2,", 7, "nothing"),
        (">=1.2,,<2", 7, "nothing"),
        ("^1.2", 1, "'^1.2'"),
    ],
)
def test_a_malformed_range_is_refused_where_it_is_wrong(
    text: str, position: int, found: str
) -> None:
    error = refused(version_range=text)
    assert error.message == (
        f"version_range at character {position}:"
        f" expected a PEP 440 clause such as '>=1.2', found {found}"
    )
    assert error.metadata == {"field": "version_range", "position": str(position)}


@pytest.mark.parametrize(
    ("text", "version", "admitted"),
    [
        ("", "", True),
        ("", "1.0", True),
        (">=1.2,<2", "1.10", True),
        (" >=1.2 , <2 ", "1.2", True),
        (">=1.2,<2", "2.0", False),
        (">=1.2", "", False),
        (">=1.2", "2.0rc1", False),
        (">=1.2,>=2.0rc1", "2.0rc1", True),
        ("~=1.4", "1.9", True),
        ("==1.*", "1.4.2", True),
        ("!=1.4", "1.4", False),
        (">=1", "1-of-a-kind", False),
    ],
)
def test_ranges_admit_versions(text: str, version: str, admitted: bool) -> None:
    assert compile_filter(text).admits_version(version) is admitted


_VERSIONS = st.builds(
    "{}.{}{}".format, st.integers(0, 3), st.integers(0, 3), st.sampled_from(["", "rc1", ".post1"])
)
_CLAUSES = st.builds(
    "{}{}".format, st.sampled_from(["<", "<=", ">", ">=", "==", "!=", "~="]), _VERSIONS
)


@given(clauses=st.lists(_CLAUSES, min_size=1, max_size=3), version=_VERSIONS)
def test_ranges_are_those_of_the_standard(clauses: list[str], version: str) -> None:
    asked = any("rc" in clause and not clause.startswith("!=") for clause in clauses)
    expected = all(SpecifierSet(clause).contains(version, prereleases=True) for clause in clauses)
    if Version(version).is_prerelease and not asked:
        expected = False
    assert compile_filter(",".join(clauses)).admits_version(version) is expected


def test_zone_and_protocol_must_be_the_same() -> None:
    here = definition(zone="eu-1", protocol=Protocol.A2A_GRPC)
    assert compile_filter(zone="eu-1").admits(here)
    assert not compile_filter(zone="eu").admits(here)
    assert compile_filter(protocol=Protocol.A2A_GRPC).admits(here)
    assert not compile_filter(protocol=Protocol.BRIKK).admits(here)
    assert not compile_filter(zone="eu-1", selector="tier=gold").admits(here)


def test_the_same_wishes_are_the_same_filter() -> None:
    wishes = (">=1", "tier=gold", "eu", Protocol.BRIKK)
    assert compile_filter(*wishes) is compile_filter(*wishes)
    assert compile_filter(*wishes) is not compile_filter(*wishes[:3])
    assert isinstance(compile_filter(), Filter)


def test_a_prefix_ends_with_its_dot() -> None:
    assert prefix_of("text.*") == "text."
    assert prefix_of("text") == ""


def test_the_newest_version_comes_first_and_none_is_the_oldest() -> None:
    assert newest_first(["1.2", "", "1.10", "1.10rc1", "0.9"]) == [
        "1.10",
        "1.10rc1",
        "1.2",
        "0.9",
        "",
    ]
    variants = variants_of(definition(versions=("", "2.0", "10.0")))["a"]
    assert [(item.service_id, item.capability.version) for item in variants] == [
        ("s2", "10.0"),
        ("s1", "2.0"),
        ("s0", ""),
    ]

"""Who is told of which alerts, held against a real Alertmanager."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import pytest

from brikk_monitoring.domain.grouping import Group, Member, Terms, flush
from brikk_monitoring.domain.inhibition import InhibitionRule, Inhibitors
from brikk_monitoring.domain.matcher import Matcher, Operator, match_all
from brikk_monitoring.domain.route import Destination, Route, Routing, RoutingTree
from brikk_monitoring.domain.silence import Silence
from support.discovery import until
from support.receiver import Receiver, receiving

HOUR = timedelta(hours=1)
REGEXES = (Operator.MATCHES, Operator.NOT_MATCHES)


@dataclass(frozen=True, kw_only=True)
class Alertmanager:
    """A running one."""

    url: str
    session: aiohttp.ClientSession

    async def post(self, path: str, body: object) -> None:
        async with self.session.post(f"{self.url}/{path}", json=body) as answer:
            assert answer.status == 200, await answer.text()

    async def get(self, path: str) -> list[Any]:
        async with self.session.get(f"{self.url}/{path}") as answer:
            found: list[Any] = await answer.json()
            return found

    async def silence(self, silence: Silence) -> None:
        matchers = [
            {
                "name": each.label,
                "value": each.value,
                "isRegex": each.operator in REGEXES,
                "isEqual": each.operator in (Operator.EQUAL, Operator.MATCHES),
            }
            for each in silence.matchers
        ]
        body = {
            "matchers": matchers,
            "startsAt": silence.start_time.isoformat(),
            "endsAt": silence.end_time.isoformat(),
            "createdBy": "me",
            "comment": "why",
        }
        await self.post("silences", body)


@pytest.fixture
def program(tell: Callable[[str], None]) -> str | None:
    """Alertmanager, where it is installed."""
    found = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
    if found is None:
        tell("Alertmanager is not here: nobody confirmed who is told of which alerts")
    return found


@asynccontextmanager
async def running(
    program: str, folder: Path, configuration: dict[str, object]
) -> AsyncIterator[Alertmanager]:
    process = await asyncio.create_subprocess_exec(
        program,
        f"--config.file={_written(folder, configuration)}",
        f"--storage.path={folder}",
        "--web.listen-address=127.0.0.1:0",
        "--cluster.listen-address=",
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        address = None
        while address is None:
            line = (await process.stderr.readline()).decode()
            assert line, "Alertmanager ended"
            address = re.search(r'msg="Listening on" address=(\S+)', line)
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:
            yield Alertmanager(url=f"http://{address[1]}/api/v2", session=session)
    finally:
        process.kill()
        await process.wait()


def _written(folder: Path, configuration: dict[str, object]) -> Path:
    folder.mkdir()
    file = folder / "configuration.json"
    file.write_text(json.dumps(configuration))
    return file


async def test_it_sends_alerts_to_the_same_places_and_withholds_the_same(
    tmp_path: Path, program: str | None
) -> None:
    """Random trees, inhibition rules, silences and alerts."""
    kinds: set[tuple[bool, bool]] = set()
    for seed in range(3 if program else 0):
        random = Random(seed)
        tree = _random_tree(random)
        folder = tmp_path / str(seed)
        async with running(str(program), folder, _configuration(tree)) as alertmanager:
            kinds |= await _compare(alertmanager, tree, random)
    assert len(kinds) == (4 if program else 0)


async def test_it_tells_the_same_at_each_turn(tmp_path: Path, program: str | None) -> None:
    """A random course of two groups: alerts fire, are resolved and are silenced."""
    if program is None:
        return
    random, now = Random(5), datetime.now(UTC)
    groups = {"g0": "ab", "g1": "cd"}
    group_of = {name: group for group, names in groups.items() for name in names}
    states = dict.fromkeys(group_of, "over")
    ours: dict[str, list[tuple[set[str], set[str]]]] = {group: [] for group in groups}
    terms = Terms(destination=Destination(route="root", channels=("ops",)), policy=None)
    kept: dict[str, Group | None] = dict.fromkeys(groups)
    async with receiving() as receiver:
        configuration: dict[str, object] = {
            "route": {
                "receiver": "ops",
                "group_by": ["alertname"],
                "group_wait": "50ms",
                "group_interval": "100ms",
                "repeat_interval": "1h",
            },
            "receivers": [
                {
                    "name": "ops",
                    "webhook_configs": [{"url": f"{receiver.url}/ops", "send_resolved": True}],
                }
            ],
        }
        async with running(program, tmp_path / "it", configuration) as alertmanager:
            for _ in range(24):
                name = random.choice(list(group_of))
                group = group_of[name]
                labels = {"alertname": group, "name": name}
                if states[name] == "fires" and random.random() < 0.25:
                    silence = Silence(
                        matchers=tuple(Matcher(label=each, value=labels[each]) for each in labels),
                        start_time=now,
                        end_time=now + HOUR,
                    )
                    await alertmanager.silence(silence)
                    states[name] = "silenced"
                elif states[name] == "over":
                    await alertmanager.post("alerts", [{"labels": labels}])
                    states[name] = "fires"
                elif states[name] == "fires":
                    ended = datetime.now(UTC).isoformat()
                    await alertmanager.post("alerts", [{"labels": labels, "endsAt": ended}])
                    states[name] = "over"
                before = kept[group] or Group(
                    uid=group, organization="acme", route="root", labels={}, due_at=now
                )
                members = [
                    Member(
                        alert_id=each,
                        fires=states[each] != "over",
                        muted="silenced" if states[each] == "silenced" else "",
                    )
                    for each in groups[group]
                ]
                flushed = flush(before, terms, members, now)
                kept[group] = flushed.group
                ours[group] += [
                    (set(notice.firing), set(notice.resolved))
                    for notice in flushed.notices
                    if notice.channel
                ]
                await receiver.wait("/ops", sum(map(len, ours.values())))
    assert _told(receiver) == ours
    assert "silenced" in states.values()


def _told(receiver: Receiver) -> dict[str, list[tuple[set[str], set[str]]]]:
    found: dict[str, list[tuple[set[str], set[str]]]] = {}
    for received in receiver.on("/ops"):
        notice = json.loads(received.body)
        firing, resolved = (
            {each["labels"]["name"] for each in notice["alerts"] if each["status"] == status}
            for status in ("firing", "resolved")
        )
        found.setdefault(notice["groupLabels"]["alertname"], []).append((firing, resolved))
    return found


def _configuration(tree: RoutingTree) -> dict[str, object]:
    def node(route: Route) -> dict[str, object]:
        found: dict[str, object] = {
            "receiver": route.id,
            "continue": route.continue_matching,
            "routes": [node(each) for each in tree.routes if each.parent == route.id],
        }
        if route.matchers:
            found["matchers"] = [_quoted(each) for each in route.matchers]
        if route.group_by:
            found["group_by"] = list(route.group_by)
        return found

    return {
        "route": node(tree.routes[0]),
        "receivers": [{"name": route.id} for route in tree.routes],
        "inhibit_rules": [
            {
                "source_matchers": [_quoted(each) for each in rule.source_matchers],
                "target_matchers": [_quoted(each) for each in rule.target_matchers],
                "equal": list(rule.equal),
            }
            for rule in tree.inhibition_rules
        ],
    }


def _quoted(found: Matcher) -> str:
    return f'{found.label}{found.operator.sign}"{found.value}"'


def _random_tree(random: Random) -> RoutingTree:
    def some(most: int, least: int = 0) -> tuple[Matcher, ...]:
        return tuple(
            Matcher(
                label=random.choice("abc"),
                operator=random.choice(list(Operator)),
                value=random.choice(["x", "y", "x|y", "x.*", "[xz]"]),
            )
            for _ in range(random.randint(least, most))
        )

    routes = [Route(id="root", channels=("ops",), group_by=("alertname",))]
    for number in range(12):
        routes.append(
            Route(
                id=f"r{number}",
                parent=random.choice(routes).id,
                matchers=some(2, 1),
                continue_matching=random.random() < 0.4,
                group_by=random.choice([(), ("a",), ("b", "c"), ("...",)]),
            )
        )
    rules = tuple(
        InhibitionRule(
            source_matchers=some(2, 1),
            target_matchers=some(2, 1),
            equal=random.choice([(), ("a",), ("b",), ("b", "c")]),
        )
        for _ in range(3)
    )
    return RoutingTree(routes=tuple(routes), inhibition_rules=rules)


async def _compare(
    alertmanager: Alertmanager, tree: RoutingTree, random: Random
) -> set[tuple[bool, bool]]:
    """Compare, and return which alerts there were: inhibited, silenced, both and none."""
    alerts = {
        f"b{number:02}": {
            "alertname": f"n{number}",
            **{label: random.choice(["x", "y", "xy", "z"]) for label in random.sample("abc", 2)},
        }
        for number in range(40)
    }
    now = datetime.now(UTC)
    silences = [
        Silence(
            matchers=(
                Matcher(label="alertname", operator=Operator.MATCHES, value=f"n{number}."),
                Matcher(label="a", operator=operator, value="x"),
            ),
            start_time=now,
            end_time=now + HOUR,
        )
        for number, operator in enumerate(list(Operator)[:3])
    ]
    for silence in silences:
        await alertmanager.silence(silence)
    await alertmanager.post("alerts", [{"labels": labels} for labels in alerts.values()])
    groups: list[Any] = []

    async def grouped() -> bool:
        groups[:] = await alertmanager.get("alerts/groups")
        names = {each["labels"]["alertname"] for group in groups for each in group["alerts"]}
        return len(names) == len(alerts)

    await until(grouped)
    found = await alertmanager.get("alerts")

    routing, inhibitors = Routing(tree), Inhibitors(tree.inhibition_rules, alerts)
    expected: dict[tuple[str, str], set[str]] = {}
    for labels in alerts.values():
        for each in routing.find(labels):
            key = (each.route, json.dumps(each.group_labels(labels), sort_keys=True))
            expected.setdefault(key, set()).add(labels["alertname"])
    theirs: dict[tuple[str, str], set[str]] = {}
    for group in groups:
        key = (group["receiver"]["name"], json.dumps(group["labels"], sort_keys=True))
        names = {alert["labels"]["alertname"] for alert in group["alerts"]}
        theirs.setdefault(key, set()).update(names)
    assert theirs == expected
    muted = {
        alert["labels"]["alertname"]: (
            bool(alert["status"]["inhibitedBy"]),
            bool(alert["status"]["silencedBy"]),
        )
        for alert in found
    }
    assert muted == {
        labels["alertname"]: (
            inhibitors.inhibitor_of(labels) is not None,
            any(match_all(silence.matchers, labels) for silence in silences),
        )
        for labels in alerts.values()
    }
    return {*muted.values()}

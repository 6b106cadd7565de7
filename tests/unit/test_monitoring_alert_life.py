"""The life of an alert, with Prometheus as the oracle of `for` and `keep_firing_for`."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brikk_monitoring.domain.alert import CALM, Alert, AlertState, Changed, Transition
from brikk_monitoring.domain.condition import Finding, Part
from brikk_monitoring.domain.evaluation import Readings, evaluate
from brikk_monitoring.domain.measurement import Sums
from brikk_monitoring.domain.rule import (
    Definition,
    Inquiry,
    NoData,
    Rule,
    Severity,
    Side,
    Threshold,
)
from brikk_monitoring.domain.series import Dimension
from brikk_shared.errors import FailedPrecondition

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
PENDING, FIRING, RESOLVED = AlertState.PENDING, AlertState.FIRING, AlertState.RESOLVED
ACKNOWLEDGED, SNOOZED = AlertState.ACKNOWLEDGED, AlertState.SNOOZED


def terms(pending_for: timedelta = MINUTE * 0, keep: timedelta = MINUTE * 0) -> Definition:
    return Definition(
        inquiry=Inquiry(metric="calls"),
        condition=Threshold(side=Side.ABOVE, value=0),
        pending_for=pending_for,
        keep_firing_for=keep,
    )


def begin() -> Alert:
    return Alert(
        id="a1",
        organization="acme",
        rule_uid="u1",
        rule_id="r1",
        fingerprint="",
        severity=Severity.WARNING,
        labels={},
        annotations={},
        pending_since=NOW,
    )


def live(
    holds: Sequence[bool | None], definition: Definition, alert: Alert | None = None
) -> tuple[list[AlertState], list[Transition], Alert]:
    """Evaluate minute by minute."""
    alert = alert or begin()
    states: list[AlertState] = []
    transitions: list[Transition] = []
    for minute, each in enumerate(holds):
        finding = Finding(value=float(minute), holds=each)
        changed = alert.observed(finding, definition, NOW + minute * MINUTE)
        alert = changed.alert
        states.append(alert.state)
        transitions += [changed.transition] if changed.transition is not None else []
    return states, transitions, alert


def changed(what: Changed) -> tuple[Alert, Transition]:
    assert what.transition is not None
    return what.alert, what.transition


def test_it_fires_when_the_condition_has_held_for_long_enough() -> None:
    states, transitions, alert = live([True] * 3 + [False, True], terms(2 * MINUTE))
    assert states == [PENDING, PENDING, FIRING, RESOLVED, PENDING]
    assert [each.state for each in transitions] == [PENDING, FIRING, RESOLVED, PENDING]
    assert [each.episode for each in transitions] == [1, 1, 1, 2]
    assert (alert.sequence, alert.firing_since, alert.resolved_at) == (4, None, None)


def test_what_is_pending_is_gone_as_soon_as_the_condition_does_not_hold() -> None:
    states, _, alert = live([True, False], terms(5 * MINUTE, keep=5 * MINUTE))
    assert states == [PENDING, RESOLVED]
    assert alert.firing_since is None


def test_silence_of_the_measurements_resolves_nothing_and_fires_nothing() -> None:
    assert live([True, None, None], terms())[0] == [FIRING] * 3
    assert live([True, None, None], terms(MINUTE))[0] == [PENDING] * 3


def test_people_answer() -> None:
    _, _, alert = live([True], terms())
    mine, told = changed(alert.acknowledged("users/me", NOW))
    assert (mine.state, mine.acknowledger, told.actor) == (ACKNOWLEDGED, "users/me", "users/me")
    assert mine.acknowledged("users/you", NOW) == Changed(alert=mine)
    later, told = changed(mine.snoozed("users/me", NOW + MINUTE, NOW))
    assert (later.state, told.state) == (SNOOZED, SNOOZED)
    for holds in (True, None):
        states, transitions, _ = live([holds] * 2, terms(), later)
        assert states == [SNOOZED, FIRING]
        assert transitions[0].reason == "the snooze is over"
    ended, told = changed(later.resolved(NOW, actor="users/me"))
    assert (ended.state, ended.snoozed_until, told.actor) == (RESOLVED, None, "users/me")
    assert ended.resolved(NOW) == Changed(alert=ended)
    with pytest.raises(FailedPrecondition):
        ended.acknowledged("users/me", NOW)
    with pytest.raises(FailedPrecondition):
        ended.snoozed("users/me", NOW + MINUTE, NOW)


def test_a_square_wave_flaps_and_is_resolved_once_it_is_calm() -> None:
    states, transitions, alert = live([True, False] * 20 + [False] * 10, terms())
    fired = [each for each in transitions if each.state is FIRING]
    assert len(fired) == 4
    assert states[7:40] == [FIRING] * 33
    assert states[-1] is RESOLVED
    assert transitions[-1].time - NOW == 39 * MINUTE + CALM
    assert alert.flaps(NOW + 30 * MINUTE)
    assert not alert.flaps(NOW + 120 * MINUTE)


HOLDS = st.lists(st.sampled_from([True, False, None]), max_size=60)


@given(holds=HOLDS, pending=st.integers(0, 5), keep=st.integers(0, 5))
def test_its_states_follow_one_another(holds: list[bool | None], pending: int, keep: int) -> None:
    definition = terms(pending * MINUTE, keep * MINUTE)
    states, transitions, alert = live(holds, definition)
    assert alert.sequence == len(transitions)
    after = {PENDING: {FIRING, RESOLVED}, FIRING: {RESOLVED}, RESOLVED: {PENDING, FIRING}}
    before = RESOLVED
    for transition in transitions:
        assert transition.state in after[before]
        before = transition.state
        if transition.state is FIRING:
            minute = (transition.time - NOW) // MINUTE
            assert holds[minute]
            assert False not in holds[max(0, minute - pending) : minute]
    # Stopped and gone on with at any moment, it is the same.
    half = len(holds) // 2
    _, _, alive = live(holds[:half], definition)
    for minute in range(half, len(holds)):
        finding = Finding(value=float(minute), holds=holds[minute])
        alive = alive.observed(finding, definition, NOW + minute * MINUTE).alert
        assert alive.state is states[minute]


def test_prometheus_agrees(tmp_path: Path, tell: Callable[[str], None]) -> None:
    """Random courses of conditions, held against `promtool test rules` minute by minute."""
    promtool = shutil.which("promtool")
    if promtool is None:
        tell("promtool is not here: nobody confirmed when alerts fire")
        return
    random, minutes, rules, series, tests = Random(7), 40, [], [], []
    expected: dict[int, list[str]] = {minute: [] for minute in range(minutes)}
    for number in range(30):
        pending, keep = random.randrange(5), random.randrange(4)
        # Few turns in an hour: Prometheus knows no flapping.
        turns = sorted(random.sample(range(minutes), 6))
        holds = [sum(turn <= minute for turn in turns) % 2 == 1 for minute in range(minutes)]
        name = f"Rule{number}"
        rules.append(
            {
                "alert": name,
                "expr": f"r{number} > 0",
                "for": f"{pending}m",
                "keep_firing_for": f"{keep}m",
            }
        )
        values = " ".join(str(int(each)) for each in holds)
        series.append({"series": f"r{number}", "values": values})
        states, _, _ = live(holds, terms(pending * MINUTE, keep * MINUTE))
        for minute, state in enumerate(states):
            if state is FIRING:
                expected[minute].append(name)
    tests = [
        {
            "eval_time": f"{minute}m",
            "alertname": rule["alert"],
            "exp_alerts": [{}] if rule["alert"] in firing else [],
        }
        for minute, firing in expected.items()
        for rule in rules
    ]
    groups = [{"name": "all", "interval": "1m", "rules": rules}]
    (tmp_path / "rules.yaml").write_text(json.dumps({"groups": groups}))
    (tmp_path / "test.yaml").write_text(
        json.dumps(
            {
                "rule_files": ["rules.yaml"],
                "evaluation_interval": "1m",
                "tests": [{"interval": "1m", "input_series": series, "alert_rule_test": tests}],
            }
        )
    )
    done = subprocess.run(
        [promtool, "test", "rules", "test.yaml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]


def grouped(no_data: NoData) -> Rule:
    return Rule(
        uid="u1",
        organization="acme",
        id="slow",
        definition=Definition(
            inquiry=Inquiry(metric="calls", group_by=(Dimension.AGENT,)),
            condition=Threshold(side=Side.ABOVE, value=2),
            no_data=no_data,
            severity=Severity.CRITICAL,
            labels={"team": "ops", "agent": "never"},
            annotations={"summary": "{{ labels.agent }} of {{labels.team}}: {{ value }} {{ x }}"},
        ),
        create_time=NOW,
        update_time=NOW,
    )


@pytest.mark.parametrize(
    ("no_data", "left"), [(NoData.OK, RESOLVED), (NoData.ALERT, FIRING), (NoData.KEEP, FIRING)]
)
def test_each_group_alerts_by_itself(no_data: NoData, left: AlertState) -> None:
    rule = grouped(no_data)
    busy, calm = Sums(counts={"succeeded": 3}), Sums(counts={"succeeded": 1})
    readings: Readings = {
        ((Dimension.AGENT, "a"),): [Part(sums=busy, length=MINUTE)],
        ((Dimension.AGENT, "b"),): [Part(sums=calm, length=MINUTE)],
    }
    (begun,) = evaluate(rule, readings, {}, NOW, lambda: "a1")
    alert = begun.alert
    assert alert.state is FIRING
    assert alert.labels == {
        "agent": "a",
        "team": "ops",
        "alertname": "slow",
        "severity": "critical",
    }
    assert alert.annotations == {"summary": "a of ops: 3 {{ x }}"}
    # The same again changes nothing, so nothing is written.
    alerts = {alert.fingerprint: alert}
    assert evaluate(rule, readings, alerts, NOW + MINUTE, lambda: "a2") == []
    gone = evaluate(rule, {}, alerts, NOW + MINUTE, lambda: "a2")
    assert (gone[0].alert.state if gone else FIRING) is left

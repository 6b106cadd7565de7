"""Silences, maintenance windows, policies and routes as people keep them, and what they explain."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from brikk.monitoring.v1 import (
    alert_pb2,
    alert_rule_pb2,
    alerting_service_pb2,
    escalation_pb2,
    notification_pb2,
    silence_pb2,
)
from brikk_shared.errors import BrikkError, Reason
from brikk_shared.status import from_rpc_error
from brikk_shared.testing import ManualClock, Tokens
from support.discovery import until
from support.monitoring import DEADLINE, Monitoring, monitoring

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
T = TypeVar("T")


@pytest.fixture
async def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
async def service(tmp_path: Path, redis_url: str, clock: ManualClock) -> AsyncIterator[Monitoring]:
    async with monitoring(redis_url, Tokens(tmp_path, clock=clock), clock=clock) as service:
        yield service


async def ask(service: Monitoring, call: Callable[..., Awaitable[T]], request: object) -> T:
    return await call(request, metadata=service.alerter(), timeout=DEADLINE)


async def refused(
    service: Monitoring, call: Callable[..., Awaitable[object]], request: object
) -> BrikkError:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await ask(service, call, request)
    return from_rpc_error(raised.value)


def matcher(label: str, value: str, operator: str = "EQUAL") -> silence_pb2.Matcher:
    return silence_pb2.Matcher(
        label=label,
        value=value,
        operator=silence_pb2.Matcher.Operator.Value(f"OPERATOR_{operator}"),
    )


def at(moment: datetime) -> Timestamp:
    timestamp = Timestamp()
    timestamp.FromDatetime(moment)
    return timestamp


async def test_a_silence_is_kept_changed_and_ends(service: Monitoring, clock: ManualClock) -> None:
    stub = service.alerting
    create = silence_pb2.CreateSilenceRequest(
        silence_id="s1",
        silence=silence_pb2.Silence(
            matchers=[matcher("agent", "a|b", "MATCHES")], end_time=at(NOW + HOUR), comment="why"
        ),
        request_id="r1",
    )
    made = await ask(service, stub.CreateSilence, create)
    assert made == await ask(service, stub.CreateSilence, create)
    assert made == await ask(
        service, stub.GetSilence, silence_pb2.GetSilenceRequest(name="silences/s1")
    )
    assert made.start_time == made.create_time == at(NOW)
    assert (made.creator, made.state) == ("users/tester", silence_pb2.Silence.STATE_ACTIVE)
    assert made.matchers[0] == create.silence.matchers[0]

    other = silence_pb2.CreateSilenceRequest()
    other.CopyFrom(create)
    other.silence.comment = "other"
    assert (await refused(service, stub.CreateSilence, other)).reason is Reason.REQUEST_ID_REUSED
    other.request_id = ""
    assert (await refused(service, stub.CreateSilence, other)).reason is Reason.RESOURCE_EXISTS

    update = silence_pb2.UpdateSilenceRequest(
        name="silences/s1",
        silence=silence_pb2.Silence(end_time=at(NOW + 2 * HOUR), creator="users/other"),
        etag=made.etag,
    )
    changed = await ask(service, stub.UpdateSilence, update)
    assert (changed.comment, changed.end_time) == ("why", at(NOW + 2 * HOUR))
    assert changed.creator == "users/tester"
    assert (await refused(service, stub.UpdateSilence, update)).reason is Reason.ETAG_MISMATCH
    for mask in (["matchers"], ["state"], ["end_time"]):
        wrong = silence_pb2.UpdateSilenceRequest(
            name="silences/s1",
            silence=silence_pb2.Silence(end_time=at(NOW - HOUR)),
            update_mask=FieldMask(paths=mask),
        )
        assert (await refused(service, stub.UpdateSilence, wrong)).reason is Reason.INVALID_FIELD

    await ask(service, stub.CreateSilence, silence_pb2.CreateSilenceRequest(silence=made))
    clock.advance(2 * HOUR)
    page = silence_pb2.ListSilencesRequest(page_size=1)
    first = await ask(service, stub.ListSilences, page)
    page.page_token = first.next_page_token
    second = await ask(service, stub.ListSilences, page)
    found = [*first.silences, *second.silences]
    assert sorted(each.state for each in found) == [silence_pb2.Silence.STATE_EXPIRED] * 2
    assert not second.next_page_token
    delete = silence_pb2.DeleteSilenceRequest(name="silences/s1")
    await ask(service, stub.DeleteSilence, delete)
    assert (await refused(service, stub.DeleteSilence, delete)).reason is Reason.RESOURCE_NOT_FOUND


async def test_maintenance_windows_are_kept(service: Monitoring) -> None:
    stub = service.alerting
    window = silence_pb2.MaintenanceWindow(
        schedule="30 12 * * 1", duration=Duration(seconds=7200), time_zone="Europe/Berlin"
    )
    create = silence_pb2.CreateMaintenanceWindowRequest(
        maintenance_window_id="w", maintenance_window=window
    )
    made = await ask(service, stub.CreateMaintenanceWindow, create)
    assert made.active  # it is 13:00 in Berlin
    assert (made.schedule, made.time_zone) == (window.schedule, window.time_zone)
    update = silence_pb2.UpdateMaintenanceWindowRequest(
        name="maintenanceWindows/w",
        maintenance_window=silence_pb2.MaintenanceWindow(time_zone="America/New_York"),
    )
    assert not (await ask(service, stub.UpdateMaintenanceWindow, update)).active
    for name, value in (("schedule", "61 * * * *"), ("time_zone", "Mars")):
        wrong = silence_pb2.UpdateMaintenanceWindowRequest(
            name="maintenanceWindows/w",
            maintenance_window=silence_pb2.MaintenanceWindow(**{name: value}),  # type: ignore[arg-type]  # both are strings
        )
        error = await refused(service, stub.UpdateMaintenanceWindow, wrong)
        assert error.violations[0].field == f"maintenance_window.{name}"
    get = silence_pb2.GetMaintenanceWindowRequest(name="maintenanceWindows/w")
    kept = await ask(service, stub.GetMaintenanceWindow, get)
    listed = await ask(
        service, stub.ListMaintenanceWindows, silence_pb2.ListMaintenanceWindowsRequest()
    )
    assert list(listed.maintenance_windows) == [kept]
    delete = silence_pb2.DeleteMaintenanceWindowRequest(name="maintenanceWindows/w")
    await ask(service, stub.DeleteMaintenanceWindow, delete)
    error = await refused(service, stub.GetMaintenanceWindow, get)
    assert error.reason is Reason.RESOURCE_NOT_FOUND


def policy_request() -> escalation_pb2.CreateEscalationPolicyRequest:
    level = escalation_pb2.EscalationPolicy.Level(
        channels=["notificationChannels/ops"], timeout=Duration(seconds=600)
    )
    return escalation_pb2.CreateEscalationPolicyRequest(
        escalation_policy_id="night",
        escalation_policy=escalation_pb2.EscalationPolicy(
            levels=[level],
            loops=2,
            acknowledge_timeout=Duration(seconds=3600),
            hours=escalation_pb2.EscalationPolicy.Hours(
                days=[5, 1], begin_minute=60, time_zone="Europe/Berlin"
            ),
        ),
    )


def tree(*routes: escalation_pb2.Route) -> escalation_pb2.UpdateRoutingTreeRequest:
    return escalation_pb2.UpdateRoutingTreeRequest(
        routing_tree=escalation_pb2.RoutingTree(
            routes=[
                escalation_pb2.Route(
                    id="root",
                    channels=["notificationChannels/ops"],
                    group_by=["alertname"],
                    group_wait=Duration(),
                ),
                *routes,
            ],
            inhibition_rules=[
                escalation_pb2.InhibitionRule(
                    source_matchers=[matcher("severity", "critical")],
                    target_matchers=[matcher("severity", "info|warning", "MATCHES")],
                    equal=["workflow"],
                )
            ],
        )
    )


async def test_policies_and_routes_are_kept_as_one(service: Monitoring) -> None:
    stub = service.alerting
    empty = await ask(service, stub.GetRoutingTree, escalation_pb2.GetRoutingTreeRequest())
    assert (len(empty.routes), empty.etag) == (0, "r0")
    route = escalation_pb2.Route(
        id="db",
        parent="root",
        matchers=[matcher("team", "db")],
        escalation_policy="escalationPolicies/night",
        continue_matching=True,
        repeat_interval=Duration(seconds=60),
    )
    request = tree(route)
    error = await refused(service, stub.UpdateRoutingTree, request)
    assert error.violations[0].field == "routing_tree.routes[1].escalation_policy"
    made = await ask(service, stub.CreateEscalationPolicy, policy_request())
    assert list(made.hours.days) == [1, 5]
    kept = await ask(service, stub.UpdateRoutingTree, request)
    assert list(kept.routes) == list(request.routing_tree.routes)
    assert list(kept.inhibition_rules) == list(request.routing_tree.inhibition_rules)
    read = await ask(service, stub.GetRoutingTree, escalation_pb2.GetRoutingTreeRequest())
    assert read == kept
    request.etag = "r0"
    error = await refused(service, stub.UpdateRoutingTree, request)
    assert error.reason is Reason.ETAG_MISMATCH

    delete = escalation_pb2.DeleteEscalationPolicyRequest(name="escalationPolicies/night")
    assert (
        await refused(service, stub.DeleteEscalationPolicy, delete)
    ).reason is Reason.WRONG_STATE
    update = escalation_pb2.UpdateEscalationPolicyRequest(
        name="escalationPolicies/night",
        escalation_policy=escalation_pb2.EscalationPolicy(loops=0),
        update_mask=FieldMask(paths=["loops", "hours"]),
    )
    changed = await ask(service, stub.UpdateEscalationPolicy, update)
    assert (changed.loops, changed.HasField("hours"), len(changed.levels)) == (0, False, 1)
    get = escalation_pb2.GetEscalationPolicyRequest(name="escalationPolicies/night")
    assert await ask(service, stub.GetEscalationPolicy, get) == changed
    await ask(service, stub.UpdateRoutingTree, tree())
    await ask(service, stub.DeleteEscalationPolicy, delete)
    listed = await ask(
        service, stub.ListEscalationPolicies, escalation_pb2.ListEscalationPoliciesRequest()
    )
    assert not listed.escalation_policies


async def test_what_fires_is_told_and_it_is_said_where_and_why_not(
    service: Monitoring, clock: ManualClock
) -> None:
    stub = service.alerting
    await ask(service, stub.UpdateRoutingTree, tree())
    for severity in ("WARNING", "CRITICAL"):
        rule = alert_rule_pb2.AlertRule(
            question=alert_rule_pb2.AlertQuestion(metric="executions"),
            interval=Duration(seconds=10),
            severity=alert_rule_pb2.Severity.Value(f"SEVERITY_{severity}"),
        )
        rule.absence.SetInParent()
        create = alerting_service_pb2.CreateAlertRuleRequest(
            alert_rule_id=f"r-{severity.lower()}", alert_rule=rule
        )
        await ask(service, stub.CreateAlertRule, create)
    found: dict[str, notification_pb2.Notification] = {}

    async def told() -> bool:
        clock.advance(timedelta(seconds=5))
        page = await ask(
            service, stub.ListNotifications, notification_pb2.ListNotificationsRequest()
        )
        found.update({each.group_labels["alertname"]: each for each in page.notifications})
        return len(found) == 2

    await until(told)
    critical, warning = found["r-critical"], found["r-warning"]
    assert critical.channel == "notificationChannels/ops"
    assert critical.state == notification_pb2.Notification.STATE_PENDING
    (source,) = critical.firing_alerts
    assert (warning.channel, warning.reason) == ("", f"inhibited by {source}")
    assert warning.state == notification_pb2.Notification.STATE_SUPPRESSED

    (target,) = warning.firing_alerts
    explain = escalation_pb2.ExplainAlertRequest(name=target)
    explained = await ask(service, stub.ExplainAlert, explain)
    assert explained.reason == warning.reason
    (destination,) = explained.destinations
    assert (destination.route, list(destination.channels)) == ("root", [critical.channel])
    assert destination.group_labels == {"alertname": "r-warning"}
    assert destination.HasField("next_time")
    assert not (
        await ask(service, stub.ExplainAlert, escalation_pb2.ExplainAlertRequest(name=source))
    ).reason
    missing = escalation_pb2.ExplainAlertRequest(name="alerts/none")
    assert (await refused(service, stub.ExplainAlert, missing)).reason is Reason.RESOURCE_NOT_FOUND

    pending = notification_pb2.Notification.STATE_PENDING
    for request, expected in (
        (notification_pb2.ListNotificationsRequest(alert=target), [warning]),
        (notification_pb2.ListNotificationsRequest(channel=critical.channel), [critical]),
        (notification_pb2.ListNotificationsRequest(states=[pending]), [critical]),
        (notification_pb2.ListNotificationsRequest(alert=target, states=[pending]), []),
    ):
        page = await ask(service, stub.ListNotifications, request)
        assert list(page.notifications) == expected
    preview = silence_pb2.PreviewSilenceRequest(matchers=[matcher("severity", "warning")])
    meant = await ask(service, stub.PreviewSilence, preview)
    assert [each.name for each in meant.alerts] == [target]
    assert meant.alerts[0].state == alert_pb2.Alert.STATE_FIRING

"""Who may see what, on every RPC of a running suite: nobody without a token, no stranger."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import grpc
import pytest
from google.protobuf import duration_pb2, timestamp_pb2
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc import code_pb2

from brikk.discovery.v1 import agent_pb2, discovery_service_pb2
from brikk.event.v1 import event_service_pb2
from brikk.monitoring.v1 import (
    alert_rule_pb2,
    alerting_service_pb2,
    escalation_pb2,
    health_pb2,
    metrics_pb2,
    monitoring_service_pb2,
    notification_pb2,
    query_pb2,
    report_pb2,
    silence_pb2,
)
from brikk.webhooks.v1 import webhook_pb2, webhook_service_pb2
from brikk.workflow.v1 import (
    batch_pb2,
    execution_pb2,
    execution_service_pb2,
    schedule_pb2,
    schedule_service_pb2,
    workflow_service_pb2,
)
from brikk_cli.ports import Ports
from brikk_cli.suite import Suite
from brikk_shared.testing import bearer

SERVICES = {
    "discovery": [discovery_service_pb2.DESCRIPTOR.services_by_name["DiscoveryService"]],
    "workflow": [
        workflow_service_pb2.DESCRIPTOR.services_by_name["WorkflowService"],
        execution_service_pb2.DESCRIPTOR.services_by_name["ExecutionService"],
        schedule_service_pb2.DESCRIPTOR.services_by_name["ScheduleService"],
    ],
    "webhooks": [
        webhook_service_pb2.DESCRIPTOR.services_by_name["WebhookService"],
        event_service_pb2.DESCRIPTOR.services_by_name["EventService"],
    ],
    "monitoring": [
        monitoring_service_pb2.DESCRIPTOR.services_by_name["MonitoringService"],
        alerting_service_pb2.DESCRIPTOR.services_by_name["AlertingService"],
        event_service_pb2.DESCRIPTOR.services_by_name["EventService"],
    ],
}
METHODS = [
    (service, method)
    for service, descriptors in SERVICES.items()
    for descriptor in descriptors
    for method in descriptor.methods
]
THEIR_OWN = (
    "RegisterAgent",
    "CreateWorkflow",
    "ValidateWorkflow",
    "TestWorkflow",
    "CreateWebhook",
    "CreateAlertRule",
    "CreateSilence",
    "CreateMaintenanceWindow",
    "CreateEscalationPolicy",
)
"""Methods that only make or check something of the caller's own."""
CANARY = b"canary"
YAML = """
name: canary-flow
steps:
  - id: only
    call: {capability: canary.nobody}
"""


def requests(execution: str, delivery: str) -> Mapping[str, Message]:
    """A request for each method that names what the other organisation owns."""
    discovery, workflow = discovery_service_pb2, workflow_service_pb2
    executions, webhooks = execution_service_pb2, webhook_service_pb2
    source = workflow.DefinitionSource(yaml=YAML)
    schedules, schedule = schedule_service_pb2, "schedules/canary-schedule"
    policy = "retentionPolicies/canary"
    alerting, rule = alerting_service_pb2, "alertRules/canary-rule"
    question = query_pb2.QueryMetricsRequest(metric="steps")
    flow, hook, agent = "workflows/canary-flow", "webhooks/canary-hook", "agents/canary-agent"
    named: list[Message] = [
        registration(),
        discovery.HeartbeatRequest(beats=[discovery.Beat(agent=agent, epoch=1)]),
        discovery.DeregisterAgentRequest(agent=agent, epoch=1),
        discovery.GetAgentRequest(name=agent),
        discovery.ListAgentsRequest(),
        discovery.ResolveCapabilityRequest(capability="canary.echo"),
        discovery.ListCapabilitiesRequest(),
        discovery.WatchCapabilitiesRequest(capabilities=["canary.echo"]),
        discovery.SearchAgentsRequest(query="canary"),
        discovery.ReportOutcomesRequest(
            outcomes=[discovery.Outcome(agent=agent, capability="canary.echo", failures=1)]
        ),
        discovery.SetAgentStateRequest(name=agent, state=agent_pb2.Agent.STATE_DRAINING),
        workflow.CreateWorkflowRequest(source=source, validate_only=True),
        workflow.GetWorkflowRequest(name=flow),
        workflow.ListWorkflowsRequest(),
        workflow.UpdateWorkflowRequest(name=flow, source=source),
        workflow.DeleteWorkflowRequest(name=flow),
        workflow.ValidateWorkflowRequest(source=source),
        workflow.TestWorkflowRequest(source=source),
        workflow.RenderWorkflowRequest(name=flow),
        workflow.ListWorkflowVersionsRequest(parent=flow),
        executions.StartExecutionRequest(workflow=flow),
        executions.GetExecutionRequest(name=execution),
        executions.ListExecutionsRequest(),
        executions.WatchExecutionRequest(name=execution),
        executions.WaitExecutionRequest(name=execution),
        executions.CancelExecutionRequest(name=execution),
        executions.PauseExecutionRequest(name=execution),
        executions.ResumeExecutionRequest(name=execution),
        executions.TerminateExecutionRequest(name=execution),
        executions.SignalExecutionRequest(name=execution, signal="canary"),
        executions.RetryExecutionRequest(name=execution),
        executions.SkipStepRequest(name=execution, step="only"),
        executions.BatchStartExecutionsRequest(
            requests=[executions.StartExecutionRequest(workflow=flow)]
        ),
        executions.BatchExecutionsRequest(
            verb=batch_pb2.Batch.VERB_CANCEL,
            filter=executions.ExecutionFilter(executions=[execution]),
        ),
        executions.GetBatchRequest(name="batches/canary"),
        executions.ListBatchesRequest(),
        executions.WaitBatchRequest(name="batches/canary"),
        executions.CancelBatchRequest(name="batches/canary"),
        executions.ListHistoryRequest(parent=execution),
        executions.ExportHistoryRequest(name=execution),
        schedule_request(validate_only=True),
        schedules.GetScheduleRequest(name=schedule),
        schedules.ListSchedulesRequest(),
        schedules.UpdateScheduleRequest(name=schedule, schedule=schedule_pb2.Schedule()),
        schedules.DeleteScheduleRequest(name=schedule),
        schedules.PauseScheduleRequest(name=schedule),
        schedules.ResumeScheduleRequest(name=schedule),
        schedules.TriggerScheduleRequest(name=schedule),
        schedules.BackfillScheduleRequest(
            name=schedule,
            start_time=timestamp_pb2.Timestamp(seconds=1),
            end_time=timestamp_pb2.Timestamp(seconds=2),
        ),
        webhook_request(),
        webhooks.GetWebhookRequest(name=hook),
        webhooks.ListWebhooksRequest(),
        webhooks.UpdateWebhookRequest(name=hook, webhook=webhook_pb2.Webhook()),
        webhooks.PauseWebhookRequest(name=hook),
        webhooks.ResumeWebhookRequest(name=hook),
        webhooks.DisableWebhookRequest(name=hook),
        webhooks.EnableWebhookRequest(name=hook),
        webhooks.SendTestEventRequest(name=hook),
        webhooks.RotateWebhookSecretRequest(name=hook),
        webhooks.DeleteWebhookRequest(name=hook),
        webhooks.ListDeliveriesRequest(parent=hook),
        webhooks.GetDeliveryRequest(name=delivery),
        webhooks.ResendDeliveryRequest(name=delivery),
        webhooks.ListAttemptsRequest(parent=delivery),
        webhooks.ReplayDeliveriesRequest(name=hook),
        webhooks.GetReplayRequest(name=f"{hook}/replays/canary"),
        webhooks.GetWebhookStatsRequest(name=hook),
        webhooks.ListEventTypesRequest(),
        event_service_pb2.PublishRequest(producer="canary", generation=str(uuid.uuid4())),
        metrics_pb2.RecordMetricsRequest(
            request_id="canary", points=[metrics_pb2.MetricPoint(metric="canary.waits")]
        ),
        metrics_pb2.ListSeriesRequest(),
        metrics_pb2.CreateRetentionPolicyRequest(
            retention_policy_id="canary", retention_policy=retention_policy()
        ),
        metrics_pb2.GetRetentionPolicyRequest(name=policy),
        metrics_pb2.ListRetentionPoliciesRequest(),
        metrics_pb2.UpdateRetentionPolicyRequest(name=policy, retention_policy=retention_policy()),
        metrics_pb2.DeleteRetentionPolicyRequest(name=policy),
        monitoring_service_pb2.GetCoordinationSummaryRequest(),
        monitoring_service_pb2.GetAgentPerformanceRequest(),
        monitoring_service_pb2.GetWorkflowPerformanceRequest(),
        question,
        query_pb2.ExportMetricsRequest(
            query=question, format=query_pb2.ExportMetricsRequest.FORMAT_JSON
        ),
        health_pb2.GetSystemHealthRequest(),
        report_pb2.CreateReportRequest(
            report=report_pb2.Report(kind=report_pb2.Report.KIND_AGENTS)
        ),
        report_pb2.GetReportRequest(name="reports/canary"),
        report_pb2.ListReportsRequest(),
        alert_rule_request(),
        alerting.CreateDefaultAlertRulesRequest(),
        alerting.GetAlertRuleRequest(name=rule),
        alerting.ListAlertRulesRequest(),
        alerting.UpdateAlertRuleRequest(name=rule, alert_rule=alert_rule_pb2.AlertRule()),
        alerting.DeleteAlertRuleRequest(name=rule),
        alerting.PreviewRuleRequest(alert_rule=alert_rule_request().alert_rule),
        alerting.GetAlertRequest(name="alerts/canary"),
        alerting.ListAlertsRequest(),
        alerting.ListAlertTransitionsRequest(parent="alerts/canary"),
        alerting.WatchAlertsRequest(),
        alerting.AcknowledgeAlertRequest(name="alerts/canary"),
        alerting.SnoozeAlertRequest(name="alerts/canary"),
        alerting.ResolveAlertRequest(name="alerts/canary"),
        *telling_requests(),
    ]
    return {request.DESCRIPTOR.full_name: request for request in named}


def telling_requests() -> list[Message]:
    """Those of who is told of alerts."""
    silence, window = "silences/canary", "maintenanceWindows/canary"
    policy, matcher = "escalationPolicies/canary", silence_pb2.Matcher(label="a", value="canary")
    return [
        silence_pb2.CreateSilenceRequest(
            silence_id="canary",
            silence=silence_pb2.Silence(
                matchers=[matcher], end_time=timestamp_pb2.Timestamp(seconds=4_000_000_000)
            ),
        ),
        silence_pb2.GetSilenceRequest(name=silence),
        silence_pb2.ListSilencesRequest(),
        silence_pb2.UpdateSilenceRequest(name=silence, silence=silence_pb2.Silence()),
        silence_pb2.DeleteSilenceRequest(name=silence),
        silence_pb2.PreviewSilenceRequest(matchers=[matcher]),
        silence_pb2.CreateMaintenanceWindowRequest(
            maintenance_window_id="canary",
            maintenance_window=silence_pb2.MaintenanceWindow(
                schedule="0 2 * * *", duration=duration_pb2.Duration(seconds=60)
            ),
        ),
        silence_pb2.GetMaintenanceWindowRequest(name=window),
        silence_pb2.ListMaintenanceWindowsRequest(),
        silence_pb2.UpdateMaintenanceWindowRequest(
            name=window, maintenance_window=silence_pb2.MaintenanceWindow()
        ),
        silence_pb2.DeleteMaintenanceWindowRequest(name=window),
        escalation_pb2.CreateEscalationPolicyRequest(
            escalation_policy_id="canary",
            escalation_policy=escalation_pb2.EscalationPolicy(
                levels=[
                    escalation_pb2.EscalationPolicy.Level(
                        channels=["notificationChannels/canary"],
                        timeout=duration_pb2.Duration(seconds=60),
                    )
                ]
            ),
        ),
        escalation_pb2.GetEscalationPolicyRequest(name=policy),
        escalation_pb2.ListEscalationPoliciesRequest(),
        escalation_pb2.UpdateEscalationPolicyRequest(
            name=policy, escalation_policy=escalation_pb2.EscalationPolicy()
        ),
        escalation_pb2.DeleteEscalationPolicyRequest(name=policy),
        escalation_pb2.GetRoutingTreeRequest(),
        escalation_pb2.UpdateRoutingTreeRequest(routing_tree=escalation_pb2.RoutingTree()),
        escalation_pb2.ExplainAlertRequest(name="alerts/canary"),
        notification_pb2.ListNotificationsRequest(),
    ]


def alert_rule_request() -> alerting_service_pb2.CreateAlertRuleRequest:
    rule = alert_rule_pb2.AlertRule(question=alert_rule_pb2.AlertQuestion(metric="steps"))
    rule.absence.SetInParent()
    return alerting_service_pb2.CreateAlertRuleRequest(alert_rule_id="canary-rule", alert_rule=rule)


def retention_policy() -> metrics_pb2.RetentionPolicy:
    day = duration_pb2.Duration(seconds=86_400)
    return metrics_pb2.RetentionPolicy(minutes=day, hours=day, days=day)


def registration() -> discovery_service_pb2.RegisterAgentRequest:
    capability = agent_pb2.AgentCapability(capability="canary.echo")
    service = agent_pb2.AgentService(service_id="canary", capabilities=[capability])
    return discovery_service_pb2.RegisterAgentRequest(
        agent_id="canary-agent",
        agent=agent_pb2.Agent(endpoint="127.0.0.1:1", services=[service]),
        incarnation=str(uuid.uuid4()),
    )


def webhook_request() -> webhook_service_pb2.CreateWebhookRequest:
    webhook = webhook_pb2.Webhook(url="http://127.0.0.1:9/canary", event_types=["*"])
    return webhook_service_pb2.CreateWebhookRequest(webhook_id="canary-hook", webhook=webhook)


def schedule_request(*, validate_only: bool) -> schedule_service_pb2.CreateScheduleRequest:
    cron = schedule_pb2.CronTiming(expression="0 0 1 1 *")
    schedule = schedule_pb2.Schedule(workflow="workflows/canary-flow", cron=cron)
    return schedule_service_pb2.CreateScheduleRequest(
        schedule_id="canary-schedule", schedule=schedule, validate_only=validate_only
    )


async def call(
    suite: Suite, service: str, method: MethodDescriptor, request: Message, token: str | None
) -> Message | grpc.StatusCode:
    """Calls a method and gives its (first) answer, or the code it was refused with."""
    path = f"/{method.containing_service.full_name}/{method.name}"
    answer_type = GetMessageClass(method.output_type)
    metadata = bearer(token) if token else ()
    async with grpc.aio.insecure_channel(suite.addresses[service]) as channel:
        try:
            forms = path, type(request).SerializeToString, answer_type.FromString
            if method.client_streaming:
                both = channel.stream_stream(*forms)(iter([request]), metadata=metadata, timeout=10)
                async for message in both:
                    return message
                return grpc.StatusCode.OK
            if method.server_streaming:
                stream = channel.unary_stream(*forms)(request, metadata=metadata, timeout=10)
                async for message in stream:
                    return message
                return grpc.StatusCode.OK
            return await channel.unary_unary(*forms)(request, metadata=metadata, timeout=10)
        except grpc.aio.AioRpcError as error:
            return error.code()


def method_of(name: str) -> tuple[str, MethodDescriptor]:
    return next((service, method) for service, method in METHODS if method.name == name)


@pytest.fixture
async def suite(tmp_path: Path) -> AsyncIterator[Suite]:
    async with Suite(tmp_path / "home", ports=Ports.free(), log_level="warning") as suite:
        yield suite


async def test_nobody_without_a_token_and_no_other_organisation(suite: Suite) -> None:
    mine, theirs = suite.token(), suite.token(organization="other")
    source = workflow_service_pb2.DefinitionSource(yaml=YAML)
    creations: list[Message] = [
        registration(),
        webhook_request(),
        workflow_service_pb2.CreateWorkflowRequest(source=source),
        schedule_request(validate_only=False),
        alert_rule_request(),
    ]
    for request in creations:
        service, method = method_of(request.DESCRIPTOR.name.removesuffix("Request"))
        assert isinstance(await call(suite, service, method, request, mine), Message)
    started = await call(
        suite,
        *method_of("StartExecution"),
        execution_service_pb2.StartExecutionRequest(workflow="workflows/canary-flow"),
        mine,
    )
    assert isinstance(started, execution_pb2.WorkflowExecution)

    asked = requests(started.name, "webhooks/canary-hook/deliveries/canary")
    for service, method in METHODS:
        where = f"{service}: {method.full_name}"
        request = asked[method.input_type.full_name]
        answer = await call(suite, service, method, request, None)
        assert answer is grpc.StatusCode.UNAUTHENTICATED, where
        if method.name in THEIR_OWN:
            continue
        answer = await call(suite, service, method, request, theirs)
        if isinstance(answer, discovery_service_pb2.HeartbeatResponse):
            # It repeats the name that was asked about.
            assert [each.status.code for each in answer.results] == [code_pb2.NOT_FOUND]
        elif isinstance(answer, execution_service_pb2.BatchStartExecutionsResponse):
            assert [each.error.code for each in answer.results] == [code_pb2.NOT_FOUND]
        elif isinstance(answer, Message):
            assert CANARY not in answer.SerializeToString(), where
        else:
            refusals = (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.PERMISSION_DENIED)
            assert answer in refusals, where

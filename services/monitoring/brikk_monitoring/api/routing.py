"""AlertingService: the routes, escalation policies, and who is told of an alert."""

from __future__ import annotations

from typing import Any, Final

import grpc
from google.protobuf.empty_pb2 import Empty
from sqlalchemy.ext.asyncio import AsyncConnection

from brikk.monitoring.v1 import escalation_pb2 as pb
from brikk_monitoring.api.access import readable_organization
from brikk_monitoring.api.alert_messages import ALERTS
from brikk_monitoring.api.keeping import Form, Keeper
from brikk_monitoring.api.merging import check_etag
from brikk_monitoring.api.parts import Methods
from brikk_monitoring.api.telling_messages import (
    CHANNELS,
    POLICIES,
    ROUTING_TREE,
    policy_message,
    read_policy,
    read_tree,
    tree_message,
)
from brikk_monitoring.domain.alert import AlertState
from brikk_monitoring.domain.escalation import EscalationPolicy
from brikk_monitoring.domain.route import RoutingTree
from brikk_monitoring.domain.setting import Setting
from brikk_monitoring.store import settings
from brikk_monitoring.store.settings import ESCALATION_POLICIES, ROUTING_TREES
from brikk_shared.errors import FailedPrecondition, Reason, invalid_field, not_found
from brikk_shared.times import to_timestamp

_POLICY: Final[Form[EscalationPolicy, pb.EscalationPolicy]] = Form(
    kind=ESCALATION_POLICIES,
    field="escalation_policy",
    write=lambda setting, _now: policy_message(setting),
    read=lambda message, _before, _now: read_policy(message),
    new=lambda message: pb.CreateEscalationPolicyRequest(escalation_policy=message),
)


class EscalationMethods(Methods):
    """Keeps escalation policies."""

    async def CreateEscalationPolicy(
        self, request: pb.CreateEscalationPolicyRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.EscalationPolicy:
        """Create a policy."""
        return await self._policies.create(request)

    async def GetEscalationPolicy(
        self, request: pb.GetEscalationPolicyRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.EscalationPolicy:
        """Return a policy."""
        return await self._policies.get(request)

    async def ListEscalationPolicies(
        self, request: pb.ListEscalationPoliciesRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListEscalationPoliciesResponse:
        """List policies by name."""
        found, token = await self._policies.list(request)
        return pb.ListEscalationPoliciesResponse(escalation_policies=found, next_page_token=token)

    async def UpdateEscalationPolicy(
        self, request: pb.UpdateEscalationPolicyRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.EscalationPolicy:
        """Change a policy."""
        return await self._policies.update(request)

    async def DeleteEscalationPolicy(
        self, request: pb.DeleteEscalationPolicyRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> Empty:
        """Delete a policy that no route names."""
        await self._policies.delete(request, check=_check_unused)
        return Empty()

    @property
    def _policies(self) -> Keeper[EscalationPolicy, pb.EscalationPolicy]:
        return Keeper(_POLICY, self._parts.database, self._parts.clock)


class RoutingMethods(Methods):
    """Keeps the routes."""

    async def GetRoutingTree(
        self, request: pb.GetRoutingTreeRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.RoutingTree:
        """Return the routes."""
        async with self._parts.database.reading() as connection:
            return tree_message(await self._tree(connection))

    async def UpdateRoutingTree(
        self, request: pb.UpdateRoutingTreeRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.RoutingTree:
        """Put routes in the place of those that are, and route anew what fires."""
        tree = read_tree(request.routing_tree)
        async with self._parts.database.transaction() as connection:
            await settings.take_routing_turn(connection, readable_organization())
            before = await self._tree(connection)
            check_etag(ROUTING_TREE, given=request.etag, current=before.etag)
            await _check_policies(connection, before.organization, tree)
            after = before.updated(tree, self._parts.clock.now())
            if before.revision == 0 and after is not before:
                await settings.create(connection, ROUTING_TREES, after)
            elif after is not before:
                await settings.change(connection, ROUTING_TREES, after)
            await self._parts.telling.groups.route_anew(connection, before.organization)
        return tree_message(after)

    async def ExplainAlert(
        self, request: pb.ExplainAlertRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ExplainAlertResponse:
        """Return where an alert goes, and why nobody is told of it."""
        organization, alert_id = readable_organization(), request.name.removeprefix(ALERTS)
        telling = self._parts.telling
        async with self._parts.database.reading() as connection:
            alert = await self._parts.alerts.get(connection, organization, alert_id)
            if alert is None:
                raise not_found(request.name)
            contexts = await telling.contexts(connection, {organization}, self._parts.clock.now())
            groups = await telling.groups.of_alert(connection, alert_id)
        due = {group.route: group.due_at for group in groups}
        found = contexts[organization]
        snoozed = alert.state is AlertState.SNOOZED
        return pb.ExplainAlertResponse(
            destinations=[
                pb.ExplainAlertResponse.Destination(
                    route=each.route,
                    channels=[CHANNELS + channel for channel in each.channels],
                    escalation_policy=POLICIES + each.escalation_policy
                    if each.escalation_policy
                    else "",
                    group_labels=each.group_labels(alert.labels),
                    next_time=to_timestamp(due.get(each.route)),
                )
                for each in found.routing.find(alert.labels)
            ],
            reason=found.mutes.reason(alert.labels, snoozed=snoozed),
        )

    async def _tree(self, connection: AsyncConnection) -> Setting[RoutingTree]:
        organization, now = readable_organization(), self._parts.clock.now()
        found = await settings.get(connection, ROUTING_TREES, organization, "")
        return found or Setting(
            organization=organization,
            id="",
            content=RoutingTree(),
            create_time=now,
            update_time=now,
        )


async def _check_policies(
    connection: AsyncConnection, organization: str, tree: RoutingTree
) -> None:
    for place, route in enumerate(tree.routes):
        policy = route.escalation_policy
        if policy and not await settings.get(connection, ESCALATION_POLICIES, organization, policy):
            raise invalid_field(
                f"routing_tree.routes[{place}].escalation_policy", "names no policy"
            )


async def _check_unused(connection: AsyncConnection, policy: Setting[EscalationPolicy]) -> None:
    await settings.take_routing_turn(connection, policy.organization)
    tree = await settings.get(connection, ROUTING_TREES, policy.organization, "")
    for route in () if tree is None else tree.content.routes:
        if route.escalation_policy == policy.id:
            name = POLICIES + policy.id
            raise FailedPrecondition(
                Reason.WRONG_STATE,
                f"the route {route.id} names {name}",
                metadata={"resource": name, "route": route.id},
            )

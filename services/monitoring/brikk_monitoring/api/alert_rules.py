"""AlertingService: rules, and the alerts that end with them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, Final

import grpc
from google.protobuf.empty_pb2 import Empty
from sqlalchemy.ext.asyncio import AsyncConnection

from brikk.monitoring.v1 import alert_rule_pb2
from brikk.monitoring.v1 import alerting_service_pb2 as pb
from brikk_monitoring.api.access import readable_organization
from brikk_monitoring.api.alert_messages import (
    RULES,
    definition_message,
    read_definition,
    rule_message,
)
from brikk_monitoring.api.merging import check_etag, merge
from brikk_monitoring.api.parts import Methods
from brikk_monitoring.domain.defaults import DEFAULTS, SYSTEM_DEFAULTS
from brikk_monitoring.domain.rule import Definition, Rule
from brikk_monitoring.store import rules
from brikk_shared.errors import not_found
from brikk_shared.identity import SYSTEM_ORGANIZATION
from brikk_shared.ids import new_id
from brikk_shared.pagination import cut, page_of
from brikk_shared.validator import validate

_OUTPUT: Final = frozenset({"name", "create_time", "update_time", "etag"})


class AlertRuleMethods(Methods):
    """Keeps rules."""

    async def CreateAlertRule(
        self, request: pb.CreateAlertRuleRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> alert_rule_pb2.AlertRule:
        """Create a rule, or give the one that the same request created before."""
        rule = self._new(request.alert_rule_id or new_id(), read_definition(request.alert_rule))
        digest = hashlib.sha256(request.SerializeToString(deterministic=True)).digest()
        async with self._parts.database.transaction() as connection:
            rule = await rules.create_rule(
                connection,
                rule,
                request_id=request.request_id,
                request_digest=digest,
                quota=self._parts.rule_quota,
            )
        self._parts.evaluator.wake(rule.shard)
        return rule_message(rule)

    async def CreateDefaultAlertRules(
        self,
        request: pb.CreateDefaultAlertRulesRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> pb.CreateDefaultAlertRulesResponse:
        """Create those that are not there."""
        organization = readable_organization()
        system = organization == SYSTEM_ORGANIZATION
        found = []
        async with self._parts.database.transaction() as connection:
            for rule_id, definition in (SYSTEM_DEFAULTS if system else DEFAULTS).items():
                rule = await rules.get_rule(connection, organization, rule_id)
                found.append(
                    rule
                    or await rules.create_rule(
                        connection,
                        self._new(rule_id, definition),
                        request_id="",
                        request_digest=b"",
                        quota=self._parts.rule_quota,
                    )
                )
        for rule in found:
            self._parts.evaluator.wake(rule.shard)
        found.sort(key=lambda rule: rule.id)
        return pb.CreateDefaultAlertRulesResponse(alert_rules=map(rule_message, found))

    async def GetAlertRule(
        self, request: pb.GetAlertRuleRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> alert_rule_pb2.AlertRule:
        """Return a rule."""
        async with self._parts.database.reading() as connection:
            return rule_message(await _find(connection, request.name))

    async def ListAlertRules(
        self, request: pb.ListAlertRulesRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListAlertRulesResponse:
        """List rules by name."""
        page = page_of(request)
        async with self._parts.database.reading() as connection:
            found = await rules.list_rules(
                connection, readable_organization(), after=page.cursor, limit=page.size + 1
            )
        shown, token = cut(request, page, found, lambda rule: rule.id)
        return pb.ListAlertRulesResponse(
            alert_rules=map(rule_message, shown), next_page_token=token
        )

    async def UpdateAlertRule(
        self, request: pb.UpdateAlertRuleRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> alert_rule_pb2.AlertRule:
        """Change what people say of a rule."""

        def change(rule: Rule) -> Definition:
            check_etag(request.name, given=request.etag, current=rule.etag)
            merged = merge(
                definition_message(rule.definition),
                request.alert_rule,
                request.update_mask.paths,
                fixed=_OUTPUT,
            )
            validate(pb.CreateAlertRuleRequest(alert_rule=merged))
            return read_definition(merged)

        return rule_message(await self._change_rule(request.name, change))

    async def DeleteAlertRule(
        self, request: pb.DeleteAlertRuleRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> Empty:
        """Delete a rule."""
        async with self._parts.database.transaction() as connection:
            rule = await _find(connection, request.name, lock=True)
            await rules.delete_rule(connection, rule)
            await self._resolve(connection, rule, "the rule was deleted")
        self._parts.alerts.wake()
        return Empty()

    def _new(self, rule_id: str, definition: Definition) -> Rule:
        now = self._parts.clock.now()
        return Rule(
            uid=new_id(),
            organization=readable_organization(),
            id=rule_id,
            definition=definition,
            create_time=now,
            update_time=now,
        )

    async def _change_rule(self, name: str, change: Callable[[Rule], Definition]) -> Rule:
        async with self._parts.database.transaction() as connection:
            rule = await _find(connection, name, lock=True)
            changed = rule.updated(change(rule), self._parts.clock.now())
            if changed is not rule:
                await rules.change_rule(connection, changed)
                if changed.definition.disabled:
                    await self._resolve(connection, rule, "the rule was disabled")
                elif changed.definition.inquiry != rule.definition.inquiry:
                    # They may be of groups that are asked for no more.
                    await self._resolve(connection, rule, "the rule asks something else")
        self._parts.alerts.wake()
        self._parts.evaluator.wake(changed.shard)
        return changed

    async def _resolve(self, connection: AsyncConnection, rule: Rule, reason: str) -> None:
        alerts = await self._parts.alerts.lock_of_rules(connection, [rule.uid])
        now = self._parts.clock.now()
        ended = [alert.resolved(now, reason=reason) for alert in alerts[rule.uid].values()]
        await self._parts.alerts.write(
            connection, [each for each in ended if each.transition is not None]
        )


async def _find(connection: AsyncConnection, name: str, *, lock: bool = False) -> Rule:
    rule = await rules.get_rule(
        connection, readable_organization(), name.removeprefix(RULES), lock=lock
    )
    if rule is None:
        raise not_found(name)
    return rule

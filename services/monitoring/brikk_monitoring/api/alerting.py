"""AlertingService as a whole."""

from __future__ import annotations

from brikk_monitoring.api.alert_rules import AlertRuleMethods
from brikk_monitoring.api.alert_watching import AlertWatchMethods
from brikk_monitoring.api.alerts import AlertMethods
from brikk_monitoring.api.notifications import NotificationMethods
from brikk_monitoring.api.previews import PreviewMethods
from brikk_monitoring.api.routing import EscalationMethods, RoutingMethods
from brikk_monitoring.api.silencing import MaintenanceMethods, SilenceMethods


class AlertingServicer(
    AlertRuleMethods,
    PreviewMethods,
    AlertMethods,
    AlertWatchMethods,
    SilenceMethods,
    MaintenanceMethods,
    EscalationMethods,
    RoutingMethods,
    NotificationMethods,
):
    """Serves the alerts of organisations."""

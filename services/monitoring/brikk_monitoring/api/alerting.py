"""AlertingService as a whole."""

from __future__ import annotations

from brikk_monitoring.api.alert_rules import AlertRuleMethods
from brikk_monitoring.api.alert_watching import AlertWatchMethods
from brikk_monitoring.api.alerts import AlertMethods
from brikk_monitoring.api.previews import PreviewMethods


class AlertingServicer(AlertRuleMethods, PreviewMethods, AlertMethods, AlertWatchMethods):
    """Serves the alerts of organisations."""

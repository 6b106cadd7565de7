"""Makes the dashboards for Grafana; `make dashboards` writes them beside this file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
_WIDTH: Final = 12
"""Of 24 columns: two panels stand side by side."""
_HEIGHT: Final = 8


@dataclass(frozen=True, slots=True)
class Panel:
    """A graph: what it shows, in which unit of Grafana's, and how its lines are called."""

    title: str
    unit: str
    expression: str
    legend: str = "{{job}}"


_FAULTS: Final = "Unknown|DeadlineExceeded|Internal|Unavailable|DataLoss"
_OURS: Final = '{job=~"brikk-.+"}'


def _quantile(quantile: str, histogram: str, by: str = "") -> str:
    grouped = f"le, {by}" if by else "le"
    return f"histogram_quantile({quantile}, {_rate(f'{histogram}_bucket', grouped)})"


def _rate(counter: str, by: str = "", labels: str = "") -> str:
    grouped = f" by ({by})" if by else ""
    return f"sum{grouped} (rate({counter}{labels}[$__rate_interval]))"


DASHBOARDS: Final = {
    "overview": [
        Panel("Services that answer", "none", 'sum by (job) (up{job=~"brikk-.+"})'),
        Panel("Calls", "reqps", _rate("grpc_server_handled_total", "job", _OURS)),
        Panel("Calls that failed", "percentunit", "job:grpc_server_handled_faults:ratio_rate5m"),
        Panel("Calls, p99", "s", "job:grpc_server_handling_seconds:p99_rate5m"),
        Panel(
            "Executions",
            "ops",
            _rate("brikk_workflow_executions_total", "state"),
            "{{state}}",
        ),
        Panel(
            "Oldest event that waits",
            "s",
            "max by (job, destination) (brikk_outbox_oldest_seconds)",
            "{{job}} to {{destination}}",
        ),
        Panel(
            "Attempts to deliver",
            "ops",
            _rate("brikk_webhooks_attempts_total", "outcome"),
            "{{outcome}}",
        ),
        Panel("Alerts", "none", "max by (state) (brikk_monitoring_alerts)", "{{state}}"),
    ],
    "workflows": [
        Panel(
            "Executions",
            "ops",
            _rate("brikk_workflow_executions_total", "state"),
            "{{state}}",
        ),
        Panel(
            "Executions that failed",
            "percentunit",
            "brikk:workflow_executions_failed:ratio_rate5m",
            "failed",
        ),
        Panel(
            "Steps, p50",
            "s",
            _quantile("0.5", "brikk_workflow_step_seconds", "state"),
            "{{state}}",
        ),
        Panel(
            "Steps, p99",
            "s",
            _quantile("0.99", "brikk_workflow_step_seconds", "state"),
            "{{state}}",
        ),
        Panel(
            "Longest wait for a replica",
            "s",
            "max(brikk_workflow_oldest_runnable_seconds)",
            "oldest",
        ),
        Panel("Executions in memory", "none", "brikk_workflow_executions_held", "{{instance}}"),
        Panel(
            "Transitions",
            "ops",
            _rate("brikk_workflow_transitions_total"),
            "transitions",
        ),
        Panel(
            "Transitions per commit, mean",
            "none",
            _rate("brikk_workflow_commit_batch_size_sum")
            + " / "
            + _rate("brikk_workflow_commit_batch_size_count"),
            "mean",
        ),
        Panel("Claims", "ops", _rate("brikk_workflow_claims_total", "owner"), "of {{owner}}"),
        Panel(
            "Ticks of schedules",
            "ops",
            _rate("brikk_workflow_schedule_ticks_total", "outcome"),
            "{{outcome}}",
        ),
    ],
    "agents": [
        Panel("Agents", "none", "max by (state) (brikk_discovery_agents)", "{{state}}"),
        Panel(
            "Calls to agents",
            "ops",
            _rate("brikk_workflow_agent_calls_total", "result"),
            "{{result}}",
        ),
        Panel(
            "Calls to agents, p99",
            "s",
            _quantile("0.99", "brikk_workflow_agent_call_seconds"),
            "p99",
        ),
        Panel("Heartbeats", "ops", _rate("brikk_discovery_beats_total", "result"), "{{result}}"),
        Panel(
            "Agents that left",
            "ops",
            _rate("brikk_discovery_expired_total"),
            "expired",
        ),
        Panel(
            "Agents in doubt",
            "ops",
            _rate("brikk_discovery_suspected_total", "reason"),
            "{{reason}}",
        ),
        Panel("Silent agents that are kept", "none", "max(brikk_discovery_held)", "held"),
        Panel(
            "Endpoints not called",
            "none",
            "sum by (instance) (brikk_workflow_breakers_open)",
            "{{instance}}",
        ),
    ],
    "webhooks": [
        Panel("Attempts", "ops", _rate("brikk_webhooks_attempts_total", "outcome"), "{{outcome}}"),
        Panel(
            "Attempts that failed",
            "percentunit",
            "brikk:webhooks_attempts_undelivered:ratio_rate5m",
            "undelivered",
        ),
        Panel(
            "From event to delivery, p50",
            "s",
            _quantile("0.5", "brikk_webhooks_delivery_seconds"),
            "p50",
        ),
        Panel(
            "From event to delivery, p99",
            "s",
            _quantile("0.99", "brikk_webhooks_delivery_seconds"),
            "p99",
        ),
        Panel("Deliveries that wait", "none", "max(brikk_webhooks_queue_depth)", "pending"),
        Panel("Longest overdue", "s", "max(brikk_webhooks_oldest_pending_seconds)", "oldest"),
        Panel("Requests under way", "none", "brikk_webhooks_in_flight", "{{instance}}"),
        Panel(
            "Filters that failed",
            "ops",
            _rate("brikk_webhooks_filter_failures_total"),
            "failures",
        ),
    ],
    "alerting": [
        Panel("Alerts", "none", "max by (state) (brikk_monitoring_alerts)", "{{state}}"),
        Panel(
            "Evaluations of rules",
            "ops",
            _rate("brikk_monitoring_rule_evaluations_total", "result"),
            "{{result}}",
        ),
        Panel(
            "Evaluations missed",
            "ops",
            _rate("brikk_monitoring_rule_evaluation_misses_total"),
            "missed",
        ),
        Panel("Notices", "ops", _rate("brikk_monitoring_notices_total", "result"), "{{result}}"),
        Panel(
            "Events counted",
            "ops",
            _rate("brikk_monitoring_ingested_total", "result"),
            "{{result}}",
        ),
        Panel(
            "From a batch to its effect, p99",
            "s",
            _quantile("0.99", "brikk_monitoring_apply_seconds"),
            "p99",
        ),
        Panel("Series", "none", "max(brikk_monitoring_series_active)", "series"),
        Panel("Dead letters", "none", "max(brikk_monitoring_dead_letters)", "dead letters"),
    ],
    "runtime": [
        Panel(
            "Processor",
            "percentunit",
            'rate(process_cpu_seconds_total{job=~"brikk-.+"}[$__rate_interval])',
            "{{job}} {{instance}}",
        ),
        Panel(
            "Memory",
            "bytes",
            'process_resident_memory_bytes{job=~"brikk-.+"}',
            "{{job}} {{instance}}",
        ),
        Panel(
            "Open files",
            "none",
            'process_open_fds{job=~"brikk-.+"}',
            "{{job}} {{instance}}",
        ),
        Panel(
            "Restarts of loops",
            "ops",
            _rate("brikk_loop_restarts_total", "job, loop"),
            "{{job}} {{loop}}",
        ),
        Panel(
            "Calls by method",
            "reqps",
            _rate("grpc_server_handled_total", "grpc_method", _OURS),
            "{{grpc_method}}",
        ),
        Panel(
            "Calls that failed, by code",
            "reqps",
            _rate("grpc_server_handled_total", "job, grpc_code", f'{{grpc_code=~"{_FAULTS}"}}'),
            "{{job}} {{grpc_code}}",
        ),
        Panel(
            "What runs",
            "none",
            "count by (service, version, python) (brikk_build_info)",
            "{{service}} {{version}}, Python {{python}}",
        ),
        Panel(
            "Events in outboxes",
            "none",
            "max by (job, destination) (brikk_outbox_depth)",
            "{{job}} to {{destination}}",
        ),
    ],
}


def dashboard(name: str, panels: list[Panel]) -> dict[str, object]:
    """Write a dashboard down as Grafana imports it; its source of data is chosen there."""
    source = {"type": "prometheus", "uid": "${source}"}
    return {
        "uid": f"brikk-{name}",
        "title": f"Brikk: {name}",
        "tags": ["brikk"],
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {
            "list": [
                {
                    "name": "source",
                    "label": "Prometheus",
                    "type": "datasource",
                    "query": "prometheus",
                }
            ]
        },
        "panels": [
            {
                "id": number + 1,
                "type": "timeseries",
                "title": panel.title,
                "datasource": source,
                "gridPos": {
                    "x": number % 2 * _WIDTH,
                    "y": number // 2 * _HEIGHT,
                    "w": _WIDTH,
                    "h": _HEIGHT,
                },
                "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
                "targets": [
                    {
                        "refId": "A",
                        "datasource": source,
                        "expr": panel.expression,
                        "legendFormat": panel.legend,
                    }
                ],
            }
            for number, panel in enumerate(panels)
        ],
    }


def files() -> Iterator[tuple[Path, str]]:
    """Give the path and the content of each dashboard."""
    for name, panels in DASHBOARDS.items():
        yield HERE / f"{name}.json", json.dumps(dashboard(name, panels), indent=2) + "\n"


if __name__ == "__main__":
    for path, content in files():
        path.write_text(content)

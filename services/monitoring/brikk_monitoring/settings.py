"""Every knob of the monitoring service."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field, NonNegativeInt, PositiveInt
from pydantic_settings import SettingsConfigDict

from brikk_monitoring.domain.window import Retention
from brikk_shared.settings import Duration, SqlSettings, WorkerSettings


class MonitoringSettings(SqlSettings, WorkerSettings):
    """Read from the environment, BRIKK_MONITORING_*."""

    model_config = SettingsConfigDict(env_prefix="BRIKK_MONITORING_", frozen=True)

    listen: str = Field(default="127.0.0.1:7414", description="Address of the gRPC server.")
    http_listen: str = Field(
        default="127.0.0.1:7424", description="Address of the HTTP listener with /metrics."
    )
    database_url: str = Field(
        default="sqlite:///brikk-monitoring.db",
        description="Where alerts and the audit trail lie: `sqlite:///path`, or"
        " `postgresql://user:password@host/database`.",
    )
    redis_url: str = Field(
        default="redis://127.0.0.1:7430/0",
        description="The Redis or Valkey, 7 or newer, that keeps the measurements; no eviction.",
    )
    series_cap: PositiveInt = Field(
        default=500,
        description="Series per organisation that are counted by name, such as those of workflows,"
        " steps and agents; of those beyond, each kind counts together, as `-`.",
    )
    minute_retention: Duration = Field(
        default=timedelta(hours=3),
        ge=timedelta(hours=3),
        description="How long minutes are held; the longest window of minutes is 3 hours.",
    )
    hour_retention: Duration = Field(
        default=timedelta(days=7),
        ge=timedelta(hours=1),
        description="How long hours are held.",
    )
    day_retention: Duration = Field(
        default=timedelta(days=400), ge=timedelta(days=1), description="How long days are held."
    )

    answers_bytes: NonNegativeInt = Field(
        default=16 * 1024 * 1024,
        description="Memory for answers that were given a moment ago; 0 keeps none.",
    )
    answers_ttl: Duration = Field(
        default=timedelta(seconds=1), description="How old an answer may be that is given again."
    )

    rule_quota: PositiveInt = Field(
        default=1000, description="Alert rules that an organisation may have."
    )
    evaluation_delay: Duration = Field(
        default=timedelta(seconds=5),
        description="How far evaluations of alert rules stay behind, for events that come late.",
    )
    alert_retention: Duration = Field(
        default=timedelta(days=90),
        ge=timedelta(days=1),
        description="How long resolved alerts, and how alerts changed, are kept.",
    )
    webhooks_address: str | None = Field(
        default=None,
        description="gRPC address of webhooks, which is told of alerts; unset, it is not.",
    )

    @property
    def told(self) -> dict[str, str | None]:
        """Who is told of alerts, and where."""
        return {"webhooks": self.webhooks_address}

    @property
    def retention(self) -> Retention:
        """How long buckets are held where an organisation has no policy of its own."""
        return Retention(
            minute=self.minute_retention, hour=self.hour_retention, day=self.day_retention
        )

"""Every knob of the monitoring service."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field, PositiveInt
from pydantic_settings import SettingsConfigDict

from brikk_shared.settings import CommonSettings, Duration


class MonitoringSettings(CommonSettings):
    """Read from the environment, BRIKK_MONITORING_*."""

    model_config = SettingsConfigDict(env_prefix="BRIKK_MONITORING_", frozen=True)

    listen: str = Field(default="127.0.0.1:7414", description="Address of the gRPC server.")
    http_listen: str = Field(
        default="127.0.0.1:7424", description="Address of the HTTP listener with /metrics."
    )
    redis_url: str = Field(
        default="redis://127.0.0.1:7430/0",
        description="The Redis or Valkey, 7 or newer, that keeps the measurements; no eviction.",
    )
    series_cap: PositiveInt = Field(
        default=500,
        description="Agents per organisation counted by name; those beyond count as `agents/-`.",
    )
    minute_retention: Duration = Field(
        default=timedelta(hours=3),
        ge=timedelta(hours=3),
        description="How long a minute is held; at least as long as the longest window, 3 hours.",
    )

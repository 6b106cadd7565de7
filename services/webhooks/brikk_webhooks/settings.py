"""Every knob of the webhooks service; the only place that reads its environment."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator
from pydantic_settings import SettingsConfigDict

from brikk_shared.settings import Duration, EgressSettings, SqlSettings, WorkerSettings


def _standard_schedule() -> list[timedelta]:
    minutes, hours = timedelta(minutes=1), timedelta(hours=1)
    return [timedelta(seconds=5), 5 * minutes, 30 * minutes, *(n * hours for n in (2, 5, 10, 10))]


class WebhooksSettings(SqlSettings, EgressSettings, WorkerSettings):
    """Read from `BRIKK_WEBHOOKS_*`; see `brikk_shared.settings` for what all services share."""

    model_config = SettingsConfigDict(env_prefix="BRIKK_WEBHOOKS_", extra="forbid", frozen=True)

    listen: str = Field(default="127.0.0.1:7413", description="Where gRPC listens: host:port.")
    http_listen: str = Field(
        default="127.0.0.1:7423", description="Where /metrics is served: host:port."
    )
    database_url: str = Field(
        default="sqlite:///brikk-webhooks.db",
        description="`sqlite:///path`, or `postgresql://user:password@host/database`.",
    )
    worker_http_listen: list[str] = Field(
        default=["127.0.0.1:7433", "127.0.0.1:7434"],
        min_length=1,
        description="Of a worker: where its processes serve /metrics, host:port each; it has as"
        " many processes.",
    )
    key_ring: Path = Field(
        description="File with the keys that secrets are sealed under, as JSON:"
        ' `{"primary": "k1", "keys": {"k1": "<32 random bytes in base64>"}}`.'
        " The primary key seals; the others open what they sealed before, which is sealed anew"
        " under the primary key. It is read again when it changes. See docs/security.md.",
    )
    webhook_quota: int = Field(
        default=500, ge=1, description="Webhooks that an organisation may have."
    )
    origin: str = Field(
        default="brikk.local",
        pattern=r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?",
        description="DNS name that this installation gives when it asks an endpoint for permission"
        " (WebHook-Request-Origin).",
    )
    request_timeout: Duration = Field(
        default=timedelta(seconds=15), description="How long an endpoint may take to answer."
    )
    claim_lease: Duration = Field(
        default=timedelta(seconds=45),
        description="After how long the deliveries of a worker that died are taken over by others;"
        " longer than request_timeout.",
    )
    concurrency: int = Field(
        default=512, ge=1, description="First attempts under way at once, per replica."
    )
    retry_concurrency: int = Field(
        default=128, ge=1, description="Retries under way at once, per replica."
    )
    max_in_flight: int = Field(
        default=32,
        ge=1,
        description="Attempts under way at once to one webhook, per replica;"
        " first attempts and retries apart.",
    )
    retry_schedule: list[Duration] = Field(
        default_factory=_standard_schedule,
        max_length=20,
        description="Waits between the attempts of webhooks that have no schedule of their own.",
    )
    failing_limit: Duration = Field(
        default=timedelta(days=5),
        gt=timedelta(0),
        description="For how long all attempts to a webhook may fail before it is disabled.",
    )
    monitoring_address: str | None = Field(
        default=None,
        description="gRPC address of monitoring, which is told of webhooks that fail and what the"
        " service needs of its machine; unset, it is told nothing.",
    )
    payload_retention: Duration = Field(
        default=timedelta(days=30),
        description="For how long the body of an event is kept, at least until the end of its"
        " deliveries; webhooks may have times of their own.",
    )
    delivery_retention: Duration = Field(
        default=timedelta(days=90),
        description="For how long deliveries that have ended, their attempts and events are kept.",
    )
    poll_interval: Duration = Field(
        default=timedelta(seconds=1),
        gt=timedelta(0),
        description="How often to look for deliveries that other replicas took in.",
    )

    @property
    def told(self) -> dict[str, str | None]:
        """Who is told of webhooks that fail, and where."""
        return {"monitoring": self.monitoring_address}

    @model_validator(mode="after")
    def _check_lease(self) -> Self:
        if self.claim_lease <= self.request_timeout:
            raise ValueError("claim_lease must be longer than request_timeout")
        return self

    @model_validator(mode="after")
    def _check_workers(self) -> Self:
        if self.broker_url is not None and self.database_url.startswith("sqlite:"):
            raise ValueError(
                "broker_url needs PostgreSQL in database_url: workers are processes of their own,"
                " and an SQLite file serves one"
            )
        return self

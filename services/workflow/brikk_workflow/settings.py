"""Every knob of the workflow service; the only place that reads its environment."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from brikk_shared.settings import CommonSettings, Duration, EgressSettings, SqlSettings


class WorkflowSettings(SqlSettings, EgressSettings, CommonSettings):
    """Read from `BRIKK_WORKFLOW_*`; see `brikk_shared.settings` for what all services share."""

    model_config = SettingsConfigDict(env_prefix="BRIKK_WORKFLOW_", extra="forbid")

    listen: str = Field("127.0.0.1:7412", description="Where gRPC listens: host:port.")
    http_listen: str = Field(
        "127.0.0.1:7422", description="Where /metrics and the JWKS of call tokens are served."
    )
    database_url: str = Field(
        "sqlite:///brikk-workflow.db", description="sqlite:///PATH or postgresql://USER@HOST/DB."
    )
    call_key: Path = Field(
        description="Signing key file of the tokens that agents receive with their calls."
    )
    discovery_address: str = Field("127.0.0.1:7411", description="gRPC address of discovery.")
    zone: str = Field(
        "", description="Failure domain that this replica runs in; agents there come first."
    )
    webhooks_address: str | None = Field(
        None, description="gRPC address of webhooks; unset, it is told nothing."
    )
    monitoring_address: str | None = Field(
        None, description="gRPC address of monitoring; unset, it is told nothing."
    )
    max_owned: int = Field(
        2000, ge=1, description="Executions that one replica holds in memory at once."
    )
    max_running: int = Field(
        100_000,
        ge=1,
        description="Executions of one organisation that run at once; further ones queue.",
    )
    replica_lease: Duration = Field(
        timedelta(seconds=10),
        description="How long a silent replica keeps its executions before others take them.",
    )
    claim_interval: Duration = Field(
        timedelta(milliseconds=250),
        description="How often a replica looks for executions nobody runs.",
    )
    linger: Duration = Field(
        timedelta(seconds=5),
        description="An execution leaves memory when it has nothing to do for longer than this.",
    )
    reconcile_interval: Duration = Field(
        timedelta(seconds=5),
        description="How often a replica compares what it holds in memory with what it owns, and"
        " cancels executions that outlived the one above them.",
    )
    inbox_interval: Duration = Field(
        timedelta(milliseconds=250),
        description="How often a replica looks for wishes that other replicas recorded.",
    )
    watch_heartbeat: Duration = Field(
        timedelta(seconds=15),
        description="Longest silence of a watch, so that nothing between takes it for dead.",
    )
    waiting_interval: Duration = Field(
        timedelta(seconds=5),
        description="How often steps without an agent look for one, should they not be told.",
    )
    retention: Duration = Field(
        timedelta(days=30),
        ge=timedelta(days=1),
        description="How long ended executions are kept; they leave on the next day (in UTC).",
    )
    archive_dir: Path | None = Field(
        None, description="Folder for executions that leave; unset, nothing is kept of them."
    )
    cache_bytes: int = Field(
        64 * 1024 * 1024,
        ge=0,
        description="Memory for answers about ended executions, which are read again and again.",
    )
    max_schedules: int = Field(
        1000, ge=1, description="Schedules that one organisation may have at once."
    )

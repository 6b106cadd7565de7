"""Every knob of the discovery service; the only place that reads its environment."""

from __future__ import annotations

from datetime import timedelta
from typing import Self

from pydantic import Field, PositiveInt, model_validator
from pydantic_settings import SettingsConfigDict

from brikk_discovery.domain.losses import Guard
from brikk_discovery.domain.terms import Terms
from brikk_shared.settings import CommonSettings, Duration, EgressSettings, SqlSettings


class DiscoverySettings(SqlSettings, EgressSettings, CommonSettings):
    """Read from `BRIKK_DISCOVERY_*`; see `brikk_shared.settings` for what all services share."""

    model_config = SettingsConfigDict(env_prefix="BRIKK_DISCOVERY_", extra="forbid")

    listen: str = Field("127.0.0.1:7411", description="Where gRPC listens: host:port.")
    http_listen: str = Field("127.0.0.1:7421", description="Where /metrics is served: host:port.")
    database_url: str = Field(
        "sqlite:///brikk-discovery.db", description="sqlite:///PATH or postgresql://USER@HOST/DB."
    )
    heartbeat_interval: Duration = Field(
        timedelta(seconds=10), description="How long agents wait between heartbeats."
    )
    suspect_after: Duration = Field(
        timedelta(seconds=25),
        description="Silence after which an agent gets work only when nobody else is left.",
    )
    expire_after: Duration = Field(
        timedelta(seconds=40), description="Silence after which an agent is removed."
    )
    checkpoint_interval: Duration = Field(
        timedelta(seconds=1), description="How often gathered heartbeats are written to the store."
    )
    max_beats_per_second: PositiveInt = Field(
        1000,
        description="Most heartbeats a replica takes; with more agents, all intervals stretch.",
    )
    sweep_interval: Duration = Field(
        timedelta(seconds=1), description="How often agents that fell silent are looked for."
    )
    mass_loss_share: float = Field(
        0.3,
        gt=0,
        lt=1,
        description="When more than this share of an organisation's agents is silent,"
        " they are removed slowly.",
    )
    mass_loss_least: PositiveInt = Field(
        10, description="How many agents must be silent for that at least."
    )
    mass_loss_removal: float = Field(
        0.15,
        gt=0,
        lt=1,
        description="Most of an organisation's agents that are then removed in a"
        " heartbeat_interval.",
    )
    probe_interval: Duration = Field(
        timedelta(seconds=5), description="How often an agent in doubt is asked whether it answers."
    )
    probe_timeout: Duration = Field(
        timedelta(seconds=2), description="How long its answer may take."
    )
    probe_concurrency: PositiveInt = Field(
        64, description="How many agents are asked at once at most."
    )
    max_agents: PositiveInt = Field(
        5000, description="Most agents that an organisation may have registered at once."
    )
    max_watchers: PositiveInt = Field(
        1500,
        description="Most streams at once that watch capabilities; max_concurrent_calls counts"
        " them too.",
    )
    max_organization_watchers: PositiveInt = Field(
        1000, description="Most of those streams of one organisation."
    )
    max_heartbeat_streams: PositiveInt = Field(
        20_000,
        description="Most streams at once on which agents beat, each of some 30 KiB; of one"
        " organisation, twice max_agents. max_concurrent_calls does not count them.",
    )
    watch_coalescing: Duration = Field(
        timedelta(milliseconds=20),
        description="A watcher is told of changes at once, but not again before this time.",
    )
    bookmark_interval: Duration = Field(
        timedelta(seconds=10),
        description="How often a watcher is told that its stream is alive.",
    )
    webhooks_address: str | None = Field(
        None, description="gRPC address of webhooks; unset, it is told nothing."
    )
    monitoring_address: str | None = Field(
        None, description="gRPC address of monitoring; unset, it is told nothing."
    )

    @property
    def terms(self) -> Terms:
        """The intervals of leases."""
        return Terms(
            heartbeat_interval=self.heartbeat_interval,
            suspect_after=self.suspect_after,
            expire_after=self.expire_after,
            checkpoint_interval=self.checkpoint_interval,
        )

    @property
    def guard(self) -> Guard:
        """What counts as a mass loss, and how slowly it may happen."""
        return Guard(
            share=self.mass_loss_share,
            least=self.mass_loss_least,
            removal=self.mass_loss_removal,
            pause=self.heartbeat_interval,
            hold=self.expire_after,
        )

    @model_validator(mode="after")
    def _check_intervals(self) -> Self:
        for name in (
            "heartbeat_interval",
            "checkpoint_interval",
            "sweep_interval",
            "probe_interval",
            "probe_timeout",
            "bookmark_interval",
        ):
            if not getattr(self, name):
                raise ValueError(f"{name} must be longer than nothing")
        # One lost heartbeat, and the jitter of the next, must not make an agent suspect.
        if self.suspect_after < 2.2 * self.heartbeat_interval:
            raise ValueError("suspect_after must be at least 2.2 times heartbeat_interval")
        if self.expire_after < self.suspect_after + self.heartbeat_interval:
            raise ValueError("expire_after must be suspect_after and a heartbeat_interval at least")
        if self.probe_timeout > self.probe_interval:
            raise ValueError("probe_timeout must not be longer than probe_interval")
        if self.checkpoint_interval > self.heartbeat_interval:
            raise ValueError("checkpoint_interval must not be longer than heartbeat_interval")
        return self

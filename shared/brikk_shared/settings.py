"""The knobs every service has. Settings classes are the only readers of the environment."""

from __future__ import annotations

import re
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, Field, PositiveInt, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from brikk_shared.addresses import is_loopback, split_address
from brikk_shared.identity import IssuerSettings
from brikk_shared.networks import IPNetwork

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|s|m|h|d)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def _parse_duration(value: object) -> object:
    """Let durations be written as people write them; other forms are left to pydantic."""
    if isinstance(value, str) and (match := _DURATION.fullmatch(value.strip())):
        return timedelta(seconds=float(match[1]) * _UNITS[match[2]])
    return value


Duration = Annotated[timedelta, BeforeValidator(_parse_duration), Field(ge=timedelta(0))]
"""A setting like `250ms`, `10s`, `5m`, `2h` or `1d`."""


def _parse_network(value: object) -> object:
    """Say of one that is not a network what is wrong with it, once for both families."""
    return ip_network(value) if isinstance(value, str) else value


Network = Annotated[IPNetwork, BeforeValidator(_parse_network)]
"""A setting like `10.42.0.0/16` or `fd00::/8`; bits behind the prefix are refused."""


class CommonSettings(BaseSettings):
    """What every service is told. Each subclasses it with its prefix and its addresses.

    Lists and objects are written as JSON in the environment.
    """

    model_config = SettingsConfigDict(frozen=True)

    listen: str = Field(
        default="127.0.0.1:0",
        description="Address of the gRPC server, host:port; port 0 takes a free one.",
    )
    http_listen: str = Field(
        default="127.0.0.1:0", description="Address of the HTTP listener with /metrics, host:port."
    )
    health_listen: str | None = Field(
        default=None,
        description="Where nothing but health is answered, in plaintext, host:port: for probes that"
        " speak no TLS. The service `liveness` is SERVING there until the process ends.",
    )
    audience: str = Field(
        default="brikk", description="The audience that tokens must name to be accepted here."
    )
    issuers: list[IssuerSettings] = Field(
        default_factory=list,
        description="Who may issue tokens, with which keys and for which organisations.",
    )
    service_key: Path | None = Field(
        default=None,
        description="File with the key that signs this service's tokens for other services.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least important log lines to write."
    )
    log_format: Literal["json", "console"] = Field(
        default="json", description="One JSON object per line for machines, or text for people."
    )
    drain_delay: Duration = Field(
        default=timedelta(0),
        description="On SIGTERM, how long to serve on, NOT_SERVING, until clients went elsewhere.",
    )
    drain_grace: Duration = Field(
        default=timedelta(seconds=10),
        description="After that, how long calls and loops may take to finish.",
    )
    tls_certificate: Path | None = Field(
        default=None,
        description="PEM file with the server's certificate chain. TLS is on when it is set.",
    )
    tls_key: Path | None = Field(
        default=None, description="PEM file with the private key of the certificate."
    )
    tls_authority: Path | None = Field(
        default=None,
        description="PEM file with the authorities of other services; calls use TLS when set.",
    )
    allow_plaintext: bool = Field(
        default=False,
        description="Allow plaintext off loopback; only behind a mesh that encrypts.",
    )
    rate_limit: float = Field(
        default=1000.0, gt=0, description="Calls per second of one principal of one organisation."
    )
    rate_burst: PositiveInt = Field(
        default=2000, description="Calls that a principal may make at once after a pause."
    )
    max_message_bytes: PositiveInt = Field(
        default=4 * 1024 * 1024, description="Largest message accepted or sent, in bytes."
    )
    max_concurrent_calls: PositiveInt = Field(
        default=2000,
        description="Calls under way at once, streams of answers included; more are refused.",
    )
    connection_age: Duration = Field(
        default=timedelta(minutes=30),
        description="How long a client may keep a connection, so that new replicas get calls.",
    )
    fault: str = Field(
        default="",
        description="Point at which the process kills itself, with `:3` the third time it is"
        " there. For tests only.",
    )

    @property
    def service(self) -> str:
        """Short name of the service, for instance `webhooks`, by the prefix of its variables."""
        prefix = self.model_config.get("env_prefix", "")
        return prefix.removeprefix("BRIKK_").rstrip("_").lower() or "service"

    @model_validator(mode="after")
    def _check_transport(self) -> CommonSettings:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key are set together or not at all")
        if (
            self.tls_certificate is None
            and not self.allow_plaintext
            and not is_loopback(self.listen)
        ):
            raise ValueError(
                f"listen={self.listen} would serve plaintext off loopback: "
                "set tls_certificate and tls_key, or allow_plaintext"
            )
        for address in (self.http_listen, self.health_listen):
            if address is not None:
                split_address(address)
        return self


class SqlSettings(CommonSettings):
    """The knobs of a service that keeps its state in SQL."""

    database_url: str = Field(
        description="`sqlite:///path/to/file.db`, for one process, or `postgresql://user:password@host/database`."
    )


class WorkerSettings(CommonSettings):
    """What a service is told whose work beside the calls Celery workers may do."""

    broker_url: str | None = Field(
        default=None,
        description="Redis or Valkey that tells Celery workers what to do,"
        " `redis://:password@host:port/database`. Without one, the service does the work itself.",
    )
    worker_http_listen: list[str] = Field(
        default=["127.0.0.1:0"] * 2,
        min_length=1,
        description="Of a worker: where its processes serve /metrics, host:port each; it has as"
        " many processes.",
    )


class EgressSettings(BaseModel):
    """The knobs of a service that calls addresses which others have named."""

    egress_allowed: list[Network] = Field(
        default_factory=list,
        description="Networks that may be called although they are not public, such as those of"
        ' pods: `["10.42.0.0/16", "fd00::/8"]`. Public addresses always may.',
    )

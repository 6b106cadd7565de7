"""Write a Brikk agent in twenty lines, and verify Brikk webhooks."""

from __future__ import annotations

from brikk_agent.agent import Agent
from brikk_agent.bids import Bid
from brikk_agent.connection import Connection, NotConnected
from brikk_agent.context import Context
from brikk_agent.errors import (
    AgentError,
    CallCancelled,
    CannotStart,
    InvalidInput,
    NotRetryable,
    Retryable,
)
from brikk_agent.line import Usage
from brikk_agent.webhooks import (
    BodyRefused,
    HeaderMissing,
    SignatureRefused,
    TimestampRefused,
    WebhookRefused,
    WebhookVerifier,
)

__all__ = [
    "Agent",
    "AgentError",
    "Bid",
    "BodyRefused",
    "CallCancelled",
    "CannotStart",
    "Connection",
    "Context",
    "HeaderMissing",
    "InvalidInput",
    "NotConnected",
    "NotRetryable",
    "Retryable",
    "SignatureRefused",
    "TimestampRefused",
    "Usage",
    "WebhookRefused",
    "WebhookVerifier",
]

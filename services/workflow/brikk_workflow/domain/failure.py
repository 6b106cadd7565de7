"""Why a step or an execution failed, in the words of `google.rpc.Status` and ErrorInfo."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from brikk_shared.errors import Reason


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """A failure as it is stored and shown.

    `code` is the canonical gRPC code name. `metadata` holds what `brikk.error.v1.ErrorReason`
    promises for the reason; a reason that the agent itself gave is under `agent_reason`.
    `retryable` is what the agent said about another attempt, None when it said nothing.
    """

    code: str
    reason: Reason
    message: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    retryable: bool | None = None

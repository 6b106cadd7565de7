"""One line per call: what was called, by whom, how it ended."""

from __future__ import annotations

import logging

import structlog

from brikk_shared.errors import BrikkError, Reason
from brikk_shared.identity import Identity
from brikk_shared.interceptors.method import Method

_DEFECTS = frozenset({"INTERNAL", "UNKNOWN", "DATA_LOSS"})
_TROUBLES = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED"})

_NAME = "brikk.calls"
_log = structlog.stdlib.get_logger(_NAME)
_threshold = logging.getLogger(_NAME)


def log_success(method: Method, identity: Identity, request_id: str, seconds: float) -> None:
    """Say that a call succeeded: changes always, reads and bulk calls only when debugging."""
    level = logging.INFO if method.audited else logging.DEBUG
    if not _threshold.isEnabledFor(level):  # asked before the line is put together
        return
    _log.log(
        level,
        "call",
        method=method.path,
        code="OK",
        organization=identity.organization,
        principal=identity.subject,
        request_id=request_id,
        ms=round(seconds * 1000, 2),
    )


def log_failure(
    method: Method,
    identity: Identity | None,
    request_id: str,
    seconds: float,
    error: BrikkError,
    cause: BaseException,
) -> None:
    """Say that a call failed. A defect comes with its traceback, which the caller never sees.

    That a drain ends streams, thousands perhaps, is no trouble.
    """
    if error.code in _DEFECTS:
        log = _log.error
    elif error.code in _TROUBLES and error.reason is not Reason.SHUTTING_DOWN:
        log = _log.warning
    else:
        log = _log.info
    log(
        "call",
        method=method.path,
        code=error.code,
        reason=str(error.reason),
        error=error.message,
        organization=identity.organization if identity else None,
        principal=identity.subject if identity else None,
        request_id=request_id,
        ms=round(seconds * 1000, 2),
        exc_info=cause if error.code in _DEFECTS else None,
    )

"""The connections to Redis, and what callers are told when it fails."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Final

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError, ReadOnlyError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from brikk_shared.errors import Reason, ResourceExhausted, Unavailable

_MAX_CONNECTIONS: Final = 32
_TIMEOUT: Final = timedelta(seconds=5)
_RETRY_AFTER: Final = timedelta(seconds=1)
_RETRY_AFTER_FULL: Final = timedelta(seconds=5)

_NOT_NOW: Final = re.compile(r"\b(MISCONF|MASTERDOWN|NOREPLICAS|CLUSTERDOWN|BUSY)\b")
"""Codes of errors that pass: the server's disk is full, it lost its peers, or a script keeps it."""


def connect(url: str) -> Redis:
    """Return a client that connects when it is first used; leaving it closes its connections.

    When its connection breaks, a command is repeated once: after a restart of the server every
    pooled connection is a dead one. So each write must be safe to repeat.
    """
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=_MAX_CONNECTIONS,
        timeout=_TIMEOUT.total_seconds(),
        socket_timeout=_TIMEOUT.total_seconds(),
        socket_connect_timeout=_TIMEOUT.total_seconds(),
        retry=Retry(NoBackoff(), 1),
        decode_responses=True,
    )
    return Redis.from_pool(pool)


@contextmanager
def telling_failures() -> Iterator[None]:
    """Turn failures of Redis into Unavailable, or ResourceExhausted when its memory is full."""
    try:
        yield
    except OutOfMemoryError as error:
        raise ResourceExhausted(
            Reason.DEPENDENCY_UNAVAILABLE,
            "the store of the measurements is full",
            retry_after=_RETRY_AFTER_FULL,
        ) from error
    except (RedisConnectionError, RedisTimeoutError, ReadOnlyError) as error:
        raise _unavailable() from error
    except ResponseError as error:
        if _NOT_NOW.search(str(error)):
            raise _unavailable() from error
        raise


def _unavailable() -> Unavailable:
    return Unavailable(
        Reason.DEPENDENCY_UNAVAILABLE,
        "the store of the measurements does not answer",
        retry_after=_RETRY_AFTER,
    )

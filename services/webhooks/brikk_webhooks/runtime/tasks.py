"""What is done beside the calls, within the service or by Celery workers."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from brikk_shared.tasks import Task

DRAIN: Final = Task(name="drain", every=timedelta(seconds=1))
"""Attempts what is due. Workers are told of it; without them the service never stops doing it."""
CANCELLATION: Final = Task(name="cancellation", every=timedelta(seconds=5))
ORDERS: Final = Task(name="orders", every=timedelta(minutes=1))
ERASURE: Final = Task(name="erasure", every=timedelta(minutes=10))
EXPIRY: Final = Task(name="expiry", every=timedelta(minutes=10))
REMOVAL: Final = Task(name="removal", every=timedelta(minutes=1))
REPLAYS: Final = Task(name="replays", every=timedelta(seconds=5))
REVIEW: Final = Task(name="review", every=timedelta(seconds=5))
SIGNING_KEYS: Final = Task(name="signing-keys", every=timedelta(minutes=1))

HOUSEKEEPING: Final = (
    CANCELLATION,
    ERASURE,
    EXPIRY,
    ORDERS,
    REMOVAL,
    REPLAYS,
    REVIEW,
    SIGNING_KEYS,
)

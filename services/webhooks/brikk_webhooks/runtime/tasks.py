"""What is done beside the calls, within the service or by Celery workers."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from brikk_shared.tasks import Task

DRAIN: Final = Task(name="drain", every=timedelta(seconds=1))
"""Attempts what is due. Workers are told of it; without them the service never stops doing it."""
CANCELLATION: Final = Task(name="cancellation", every=timedelta(seconds=5))
ORDERS: Final = Task(name="orders", every=timedelta(minutes=1))
REPLAYS: Final = Task(name="replays", every=timedelta(seconds=5))
REVIEW: Final = Task(name="review", every=timedelta(seconds=5))
SIGNING_KEYS: Final = Task(name="signing-keys", every=timedelta(minutes=1))

HOUSEKEEPING: Final = (CANCELLATION, ORDERS, REPLAYS, REVIEW, SIGNING_KEYS)

"""How webhooks are often sent: a Celery task per delivery, which posts with requests.

`python -m bench.celery_sender COUNT` asks for so many.
"""

from __future__ import annotations

import os
import sys

import redis
import requests
from celery import Celery

from bench.senders import BODY, POSTED

app = Celery("bench", broker=os.environ["BENCH_BROKER"])
app.conf.update(
    task_acks_late=True,
    task_default_queue="bench",
    task_ignore_result=True,
    worker_prefetch_multiplier=16,
)
_session = requests.Session()
_valkey = redis.Redis.from_url(os.environ["BENCH_BROKER"])


@app.task(name="bench.post")  # type: ignore[untyped-decorator]  # Celery has no annotations
def post() -> None:
    """Makes one post and counts it."""
    _session.post(os.environ["BENCH_URL"], data=BODY, timeout=15).raise_for_status()
    _valkey.incr(POSTED)


if __name__ == "__main__":
    for _ in range(int(sys.argv[1])):
        app.send_task("bench.post")

"""How webhooks are often sent: a Celery task per delivery, which posts with requests.

`python -m celery_sender COUNT` asks for so many. It stands alone, for an interpreter that has
Celery and requests.
"""

import os
import sys

import redis
import requests
from celery import Celery

BODY = b'{"specversion":"1.0","id":"e1","data":{"text":"' + b"x" * 300 + b'"}}'

app = Celery("celery_sender", broker=os.environ["BENCH_BROKER"])
app.conf.update(
    task_acks_late=True,
    task_default_queue="bench",
    task_ignore_result=True,
    worker_prefetch_multiplier=16,
)
_session = requests.Session()
_posted = redis.Redis.from_url(os.environ["BENCH_BROKER"])


@app.task(name="bench.post")
def post() -> None:
    """Makes one post and counts it."""
    _session.post(os.environ["BENCH_URL"], data=BODY, timeout=15).raise_for_status()
    _posted.incr("bench-posted")


if __name__ == "__main__":
    for _ in range(int(sys.argv[1])):
        app.send_task("bench.post")

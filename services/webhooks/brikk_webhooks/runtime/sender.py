"""One attempt of a delivery: sign, post, judge the answer, log it durably."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import cast

import structlog
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_fixed

from brikk_shared.clock import Clock
from brikk_shared.crypto import KeyMissing, SealingError
from brikk_shared.errors import Unavailable
from brikk_shared.group_commit import GroupCommit
from brikk_shared.key_ring_file import KeyRingFile
from brikk_webhooks.clients.http import HttpPoster
from brikk_webhooks.domain.cloudevent import CONTENT_TYPE
from brikk_webhooks.domain.delivery import Answer, Attempt, Outcome, judge
from brikk_webhooks.domain.dispatch import Claim, Report, Target
from brikk_webhooks.domain.signing import sign, signed_content
from brikk_webhooks.runtime.metrics import DeliveryMetrics

_random = random.SystemRandom()
_logger = structlog.stdlib.get_logger(__name__)


class Sender:
    """Makes attempts and has them logged.

    Args:
        log: commits a report together with the delivery's new state; False when its claim is lost.
        lease: how long a claim is held, and so for how long it makes sense to try to log.
        wake: called when others may have become due by what was logged.
        review: called when an endpoint is to be looked at.
    """

    def __init__(
        self,
        *,
        poster: HttpPoster,
        key_ring: KeyRingFile,
        log: GroupCommit[Report, bool],
        retry_schedule: Sequence[timedelta],
        lease: timedelta,
        metrics: DeliveryMetrics,
        clock: Clock,
        wake: Callable[[], None],
        review: Callable[[], None],
    ) -> None:
        self._poster = poster
        self._key_ring = key_ring
        self._log = log
        self._retry_schedule = tuple(retry_schedule)
        self._metrics = metrics
        self._clock = clock
        self._wake = wake
        self._review = review
        self._again = AsyncRetrying(
            retry=retry_if_exception_type(Unavailable),
            wait=wait_fixed(timedelta(milliseconds=500)),
            stop=stop_after_delay(lease),
            reraise=True,
        )

    async def send(self, claim: Claim) -> Report:
        """Make the attempt that was claimed, and say what came of it."""
        start_time = self._clock.now()
        began = self._clock.monotonic()
        answer = await self._post(claim, int(start_time.timestamp()))
        latency = timedelta(seconds=self._clock.monotonic() - began)
        verdict = judge(
            answer,
            attempt=claim.attempt - claim.attempts_before,
            schedule=claim.target.retry_schedule or self._retry_schedule,
            now=self._clock.now(),
            chance=0.0 if answer.accepted else _random.random(),
        )
        attempt = Attempt(
            number=claim.attempt,
            start_time=start_time,
            latency=latency,
            response_status=answer.status,
            error=verdict.error,
        )
        return Report(claim=claim, attempt=attempt, verdict=verdict)

    async def log(self, report: Report) -> None:
        """Write it down. What cannot be is attempted again, by whoever gets it after the lease."""
        try:
            try:
                held = await self._log.submit(report)
            except Unavailable:
                held = await self._again(self._log.submit, report)
        except Unavailable as error:
            delivery = report.claim.delivery_id
            _logger.warning("attempt_not_logged", delivery=delivery, error=error.message)
            return
        if not held:
            return
        self._metrics.count(report, self._clock.now())
        if report.claim.awaited:
            self._wake()
        if report.verdict.outcome is Outcome.FAILED or report.claim.probe:
            self._review()

    async def _post(self, claim: Claim, timestamp: int) -> Answer:
        target = claim.target
        content = signed_content(message_id=claim.delivery_id, timestamp=timestamp, body=claim.body)
        try:
            signatures = [
                sign(key.scheme, self._key_ring.open(key.sealed, key.place), content)
                for key in target.keys
            ]
        except SealingError as error:
            _logger.warning("signing_key_not_opened", webhook=claim.webhook_uid, error=str(error))
            final = not isinstance(error, KeyMissing)
            return Answer(error="the signing secret cannot be opened", final=final)
        try:
            besides = self._open_headers(target)
        except SealingError as error:
            _logger.warning("headers_not_opened", webhook=claim.webhook_uid, error=str(error))
            final = not isinstance(error, KeyMissing)
            return Answer(error="the headers cannot be opened", final=final)
        headers = {
            **besides,
            "Content-Type": CONTENT_TYPE,
            "webhook-id": claim.delivery_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": " ".join(signatures),
        }
        return await self._poster.post(target.url, headers=headers, body=claim.body)

    def _open_headers(self, target: Target) -> Mapping[str, str]:
        if target.headers is None:
            return {}
        opened = self._key_ring.open(target.headers.sealed, target.headers.place)
        return cast("dict[str, str]", json.loads(opened))

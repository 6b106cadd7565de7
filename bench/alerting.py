"""A thousand alert rules that are due at once: read, judged, and their alerts committed."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from prometheus_client import CollectorRegistry

from bench.report import Case, percentile
from brikk_cli.keys import LOCAL_ORGANIZATION
from brikk_monitoring.domain.question import Aggregation
from brikk_monitoring.domain.rule import (
    SHARDS,
    BurnRate,
    Condition,
    Definition,
    Inquiry,
    Rule,
    Side,
    Threshold,
)
from brikk_monitoring.domain.series import Dimension
from brikk_monitoring.runtime.evaluator import AlertMetrics, Evaluator
from brikk_monitoring.store.alerts import SOURCE, Alerts
from brikk_monitoring.store.buckets import Buckets
from brikk_monitoring.store.evaluations import Evaluations
from brikk_monitoring.store.policies import Policies
from brikk_monitoring.store.rules import create_rule
from brikk_shared.clock import SystemClock
from brikk_shared.database import Database
from brikk_shared.ids import new_id
from brikk_shared.leases import Leases
from brikk_shared.outbox import Outbox
from brikk_shared.testing import ManualClock

RULES = 1000
ROUNDS = 9
_LEASE = timedelta(hours=1)


async def rules_case(buckets: Buckets, policies: Policies) -> Case:
    """Evaluates them round by round, a minute apart; a round is every shard one after the other."""
    clock = ManualClock(SystemClock().now())
    with TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'rules.db'}"
        async with Database(url, migrations="brikk_monitoring.store.migrations") as database:
            leases = Leases(database, new_id(), SystemClock())
            outbox = Outbox(database, source=SOURCE, destinations=["webhooks"])
            evaluations = Evaluations(database, leases, Alerts(database, outbox))
            metrics = AlertMetrics(CollectorRegistry())
            evaluator = Evaluator(
                evaluations, leases, buckets, policies, metrics, delay=timedelta(0), clock=clock
            )
            async with database.transaction() as connection:
                for number in range(RULES):
                    await create_rule(
                        connection,
                        _rule(number, clock),
                        request_id="",
                        request_digest=b"",
                        quota=RULES,
                    )
            held = [await leases.acquire(f"bench-{shard}", _LEASE) for shard in range(SHARDS)]
            took = list[float]()
            for _ in range(ROUNDS):
                clock.advance(timedelta(minutes=1))
                begin = time.perf_counter()
                for shard, lease in enumerate(held):
                    assert lease is not None
                    await evaluator.evaluate(shard, lease)
                took.append((time.perf_counter() - begin) * 1000)
    return Case(
        name=f"{RULES:,} alert rules due at once",
        rate=round(RULES * ROUNDS / sum(took) * 1000, 1),
        p50_ms=percentile(took, 50),
        p99_ms=percentile(took, 99),
    )


def _rule(number: int, clock: ManualClock) -> Rule:
    now = clock.now()
    inquiry, condition = _asked(number)
    return Rule(
        uid=new_id(),
        organization=LOCAL_ORGANIZATION,
        id=f"r{number}",
        definition=Definition(
            inquiry=inquiry,
            condition=condition,
            pending_for=timedelta(minutes=number % 3),
            annotations={"summary": "{{ value }}"},
        ),
        create_time=now,
        update_time=now,
    )


def _asked(number: int) -> tuple[Inquiry, Condition]:
    match number % 4:
        case 0:
            agent = {Dimension.AGENT: f"a{number % 50}"}
            inquiry = Inquiry(metric="calls", aggregation=Aggregation.P95, filters=agent)
            return inquiry, Threshold(side=Side.ABOVE, value=number % 400)
        case 1:
            return Inquiry(metric="executions"), BurnRate(objective=0.99)
        case 2:
            workflow = {Dimension.WORKFLOW: f"w{number % 10}"}
            inquiry = Inquiry(metric="steps", filters=workflow, group_by=(Dimension.STEP,))
            return inquiry, Threshold(side=Side.ABOVE, value=number)
        case _:
            inquiry = Inquiry(metric="steps", aggregation=Aggregation.RATE)
            return inquiry, Threshold(side=Side.BELOW, value=0.01 * number)

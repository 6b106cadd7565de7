"""Whose turn it is when more executions are due than a replica takes: each organisation's in turn.

Only then is it asked: while all that is due is taken, nobody waits for anybody.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from sqlalchemy import ColumnElement, and_, select, text, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from brikk_workflow.domain.admission import turns
from brikk_workflow.store.tables import EXECUTION

# Each step of the recursion is one look into the index, however many are due.
_PAIRS = text(
    """
WITH RECURSIVE pair (organization, priority) AS (
    SELECT first.organization, first.priority FROM (
        SELECT organization, priority FROM execution
        WHERE owner IS NULL AND end_time IS NULL ORDER BY organization, priority LIMIT 1
    ) AS first
    UNION ALL
    SELECT following.organization, following.priority
    FROM pair JOIN execution AS following ON following.execution_id = (
        SELECT execution_id FROM execution
        WHERE owner IS NULL AND end_time IS NULL
            AND (organization, priority) > (pair.organization, pair.priority)
        ORDER BY organization, priority LIMIT 1
    )
)
SELECT organization, priority FROM pair
"""
)


class Turns:
    """Remembers whose turn it was last."""

    def __init__(self) -> None:
        self._last = ""

    async def fair(
        self, connection: AsyncConnection, due: ColumnElement[bool], *, limit: int
    ) -> Sequence[str]:
        """Returns whom to take first: as many of each organisation, by priority, longest due first.

        Others may take some meanwhile. Nobody when no more are due than the limit allows.
        """
        if limit <= 0:
            return ()
        unowned = and_(EXECUTION.c.owner.is_(None), EXECUTION.c.end_time.is_(None), due)
        beyond = select(EXECUTION.c.execution_id).where(unowned).order_by(EXECUTION.c.wake_at)
        if (await connection.execute(beyond.offset(limit).limit(1))).first() is None:
            return ()
        priorities: defaultdict[str, list[int]] = defaultdict(list)
        for row in await connection.execute(_PAIRS):
            priorities[row.organization].append(row.priority)
        shares = list(turns(list(priorities), limit, self._last))
        self._last = shares[-1][0]
        heads = [
            select(
                EXECUTION.c.execution_id,
                EXECUTION.c.organization,
                EXECUTION.c.priority,
                EXECUTION.c.wake_at,
            )
            .where(
                unowned, EXECUTION.c.organization == organization, EXECUTION.c.priority == priority
            )
            .order_by(EXECUTION.c.wake_at)
            .limit(share)
            .subquery()
            for organization, share in shares
            for priority in priorities[organization]
        ]
        rows = (await connection.execute(union_all(*(select(each) for each in heads)))).all()
        left = dict(shares)
        chosen: list[str] = []
        for row in sorted(rows, key=lambda row: (-row.priority, row.wake_at)):
            if left[row.organization]:
                left[row.organization] -= 1
                chosen.append(row.execution_id)
        return chosen

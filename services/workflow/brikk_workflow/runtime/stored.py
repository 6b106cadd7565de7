"""What the store holds of an execution whose holder may be wrong about it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from brikk_shared.errors import Unavailable
from brikk_workflow.domain.payload import Json
from brikk_workflow.domain.record import ExecutionRecord
from brikk_workflow.runtime.engine import Engine
from brikk_workflow.store.executions import get_execution, get_outputs

STORE_PAUSE = timedelta(seconds=1)
"""How long to wait before a store that did not answer is asked again."""


async def read_stored(
    engine: Engine, record: ExecutionRecord
) -> tuple[ExecutionRecord | None, Mapping[str, Json]]:
    """Returns an execution and the outputs of its steps, as soon as the store answers."""
    while True:
        try:
            async with engine.database.reading() as connection:
                stored = await get_execution(connection, record.organization, record.execution_id)
                outputs = await get_outputs(connection, [record.execution_id])
        except Unavailable:
            await engine.clock.sleep(STORE_PAUSE)
        else:
            return stored, outputs[record.execution_id]

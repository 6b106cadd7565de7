"""What the executions of a replica share: store, clients, clocks and who to tell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from brikk_shared.clock import Clock
from brikk_shared.database import Database
from brikk_shared.group_commit import GroupCommit
from brikk_shared.outbox import Outbox
from brikk_shared.selection import Selector
from brikk_workflow.clients.agents import AgentCaller
from brikk_workflow.clients.directory import AgentDirectory
from brikk_workflow.runtime.changes import Changes
from brikk_workflow.runtime.departures import Departures
from brikk_workflow.runtime.metrics import Metrics
from brikk_workflow.runtime.progress import ProgressBoard
from brikk_workflow.runtime.rousing import Rousing
from brikk_workflow.runtime.subworkflows import Subworkflows
from brikk_workflow.runtime.timers import Timers
from brikk_workflow.runtime.waiting import WaitingRoom
from brikk_workflow.store.transitions import Write, Written


@dataclass(frozen=True, kw_only=True, slots=True)
class Engine:
    """What all executions of a replica are run with. `replica` is how the store knows it.

    `clock` goes by the time of the store: another replica must not wait for what is due by ours.
    """

    replica: str
    clock: Clock
    random: Callable[[], float]
    database: Database
    outbox: Outbox
    commits: GroupCommit[Write, Written]
    directory: AgentDirectory
    selector: Selector
    caller: AgentCaller
    timers: Timers
    waiting: WaitingRoom
    rousing: Rousing
    departures: Departures
    changes: Changes
    progress: ProgressBoard
    subworkflows: Subworkflows
    metrics: Metrics

"""What is stored of workflows and executions, as the rooms above the store see it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from brikk_workflow.domain.definition import WorkflowDefinition
from brikk_workflow.domain.payload import Json
from brikk_workflow.domain.state import ExecutionState


@dataclass(frozen=True, kw_only=True, slots=True)
class VersionRecord:
    """A version of a workflow, immutable."""

    version: int
    definition: WorkflowDefinition
    create_time: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkflowRecord:
    """A workflow with its newest version; `create_time` is that of its first."""

    workflow_id: str
    latest: VersionRecord
    create_time: datetime

    @property
    def etag(self) -> str:
        """Changes with each update: versions are immutable and only ever added."""
        return f"v{self.latest.version}"


@dataclass(frozen=True, kw_only=True, slots=True)
class ExecutionRecord:
    """An execution as it stands, without the outputs of its steps.

    `owner` is the replica that holds it and `epoch` its fencing token; `inbox_folded` counts the
    recorded wishes that are in `state` already. `retry_of` is the ended execution in whose place it
    was started, empty when there is none. `placed` tells whether it has a place under the limits,
    which `state` learns later. `head` is the hash of its newest history entry, empty when none was
    chained.
    """

    execution_id: str
    organization: str
    workflow_id: str
    version: int
    requested_transition: str
    state: ExecutionState
    owner: str | None
    epoch: int
    inbox_seq: int
    inbox_folded: int
    input: Mapping[str, Json]
    output: Json
    labels: Mapping[str, str]
    priority: int
    retry_of: str
    placed: bool = True
    traceparent: str
    create_time: datetime
    head: bytes = b""

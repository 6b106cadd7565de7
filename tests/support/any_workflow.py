"""Workflows of any shape, for what must hold for all of them."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import strategies as st

from brikk_workflow.domain.compile import compile_workflow
from brikk_workflow.domain.compiled import CompiledWorkflow
from brikk_workflow.domain.definition import (
    AtMostOnce,
    Budget,
    RetryPolicy,
    Step,
    StepTimeout,
    WorkflowDefinition,
)
from brikk_workflow.domain.kinds import CallStep


@st.composite
def workflows(draw: st.DrawFn, *, bounded: bool = True) -> CompiledWorkflow:
    """Any small acyclic graph, with conditions, retries and timeouts; if bounded, with budgets."""
    steps: list[Step] = []
    for number in range(draw(st.integers(1, 7))):
        above = [step.id for step in steps]
        after = draw(st.lists(st.sampled_from(above), unique=True)) if above else []
        reads = [f"steps.{each}.output" for each in after]
        steps.append(
            Step(
                id=f"s{number}",
                after=tuple(after),
                when=draw(st.sampled_from(["", "", "input.yes", "input.no"])),
                kind=CallStep(
                    capability=draw(st.sampled_from(["c.one", "c.two"])),
                    input={read: f"${{{read}}}" for read in reads},
                ),
                retry=RetryPolicy(max_attempts=draw(st.integers(1, 3))),
                timeout=StepTimeout(
                    schedule_to_close=draw(st.sampled_from([None, timedelta(seconds=20)]))
                ),
                at_most_once=draw(st.sampled_from([None, None, *AtMostOnce])),
            )
        )
    budgets = [Budget(), Budget(calls=4), Budget(tokens=7), Budget(cost_micros=7)]
    definition = WorkflowDefinition(
        id="any",
        steps=tuple(steps),
        timeout=timedelta(minutes=5),
        budget=draw(st.sampled_from(budgets)) if bounded else Budget(),
    )
    return compile_workflow(definition, version=1)

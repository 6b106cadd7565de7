"""What a workflow looks like in Mermaid and in DOT, whatever its texts are."""

from __future__ import annotations

from brikk_workflow.domain.dot import to_dot
from brikk_workflow.domain.mermaid import to_mermaid
from brikk_workflow.domain.picture import draw
from brikk_workflow.domain.state import Progress, StepState, StepStatus
from support.play import compiled

TRIP = compiled(
    """
name: trip
steps:
  - id: end
    call: {capability: "${input.c}"}
    catch:
      - errors: [ABORTED]
        steps: [{id: mend, wait: {duration: 90s}}]
  - id: each
    map:
      over: input.xs
      as: x
      steps:
        - {id: ask, when: "x.name != '\\"<b>;#'", call: {capability: t.a}}
  - id: which
    after: [end]
    join: any
    switch:
      cases:
        - when: "true"
          steps: [{id: no, fail: {reason: NO}}]
"""
).definition

MERMAID = """flowchart TD
    step_end["end<br/>call #36;#123;input.c#125;"]
    subgraph step_end-catch1["catch ABORTED"]
        direction TB
        step_mend["mend<br/>wait 1m30s"]
    end
    subgraph step_each["each<br/>map x in input.xs<br/>1 of 3 done, 1 failed"]
        direction TB
        step_ask["ask<br/>call t.a<br/>when x.name #33;= #39;#34;#60;b#62;#59;#35;#39;"]
    end
    subgraph step_which["which<br/>switch<br/>after 1 of 1"]
        direction TB
        subgraph step_which-case1["when true"]
            direction TB
            step_no["no<br/>fail NO"]
        end
    end
    step_end -.-> step_end-catch1
    step_end --> step_each
    step_end --> step_which
    classDef running fill:#9ec5fe,color:#000
    class step_each running
    classDef succeeded fill:#a3cfbb,color:#000
    class step_end succeeded
    classDef failed fill:#f1aeb5,color:#000
    class step_ask failed
"""

DOT = r"""
    "end" [label="end\ncall ${input.c}", fillcolor="#a3cfbb"]
    subgraph "cluster_end.catch1" {
        label="catch ABORTED"
        "end.catch1" [shape=point, style=invis]
        "mend" [label="mend\nwait 1m30s"]
    }
    subgraph "cluster_each" {
        label="each\nmap x in input.xs\n1 of 3 done, 1 failed"
        bgcolor="#9ec5fe"
        "each" [shape=point, style=invis]
        "ask" [label="ask\ncall t.a\nwhen x.name != '\"<b>;#'", fillcolor="#f1aeb5"]
    }
    subgraph "cluster_which" {
        label="which\nswitch\nafter 1 of 1"
        "which" [shape=point, style=invis]
        subgraph "cluster_which.case1" {
            label="when true"
            "which.case1" [shape=point, style=invis]
            "no" [label="no\nfail NO"]
        }
    }
    "end" -> "end.catch1" [lhead="cluster_end.catch1", style=dashed]
    "end" -> "each" [lhead="cluster_each"]
    "end" -> "which" [lhead="cluster_which"]
}
"""

STATES = {
    "end": StepState(status=StepStatus.SUCCEEDED),
    "each": StepState(
        status=StepStatus.RUNNING, progress=Progress(total=3, begun=3, done=1, failed=1)
    ),
    "each/1/ask": StepState(status=StepStatus.SUCCEEDED),
    "each/2/ask": StepState(status=StepStatus.FAILED),
}


def test_an_execution_in_mermaid() -> None:
    assert to_mermaid(draw(TRIP, STATES)) == MERMAID


def test_an_execution_in_dot() -> None:
    text = to_dot(draw(TRIP, STATES))
    assert text.startswith('digraph "trip" {\n    compound=true\n')
    assert text.endswith(DOT)


def test_a_definition_has_no_colours() -> None:
    assert "classDef" not in to_mermaid(draw(TRIP, {}))
    assert "fillcolor=#" not in to_dot(draw(TRIP, {}))


def test_long_texts_are_cut() -> None:
    condition = " && ".join(["input.yes"] * 20)
    workflow = compiled(f"name: x\nsteps: [{{id: a, when: {condition!r}, wait: {{duration: 1s}}}}]")
    assert max(map(len, to_dot(draw(workflow.definition, {})).splitlines())) < 120


def test_it_shows_how_many_are_called() -> None:
    calls = ("select: all, quorum: 60%", "select: race, max_agents: 3", "select: bids")
    steps = ", ".join(
        f"{{id: a{number}, call: {{capability: t.a, {call}}}}}" for number, call in enumerate(calls)
    )
    text = to_mermaid(draw(compiled(f"name: x\nsteps: [{steps}]").definition, {}))
    assert "call t.a<br/>all of at most 10 agents, quorum 60#37;" in text
    assert "call t.a<br/>race of at most 3 agents" in text
    assert "call t.a<br/>bids of at most 10 agents" in text

"""Every example of the reference, run by the engine's core with canned answers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from brikk_workflow.domain.canned import Canned, read_canned
from brikk_workflow.domain.payload import Json
from brikk_workflow.domain.rehearsal import Rehearsal
from brikk_workflow.domain.state import StepStatus
from support.play import compiled

TEXT = (Path(__file__).parents[2] / "docs" / "workflow-language.md").read_text()
BLOCKS = {
    name: yaml
    for yaml, problems in re.findall(
        r"```yaml\n(.*?)```\n(?:\n```text\n(.*?)```\n)?", TEXT, re.DOTALL
    )
    if not problems
    for name in re.findall(r"^name: (\S+)", yaml)
}

# By the name of the workflow: what it is given, what it is answered, what it puts out.
RUNS: Mapping[str, tuple[Mapping[str, Json], str, Json]] = {
    "ticket-triage": (
        {"subject": "Help", "body": "It burns"},
        """
        answers:
          text.redact: {text: It burns}
          ticket.classify: {topic: fire, urgency: high}
          summarize: {text: Fire}
          ticket.escalate: {}
          reply: {text: We come}
        """,
        {"topic": "fire", "reply": "We come"},
    ),
    "hello": ({}, "answers: {greet: {text: hi}}", None),
    "orders": ({"lines": [{"sku": "ABC-1", "count": 2.0}]}, "answers: {price: {}}", None),
    "frugal": ({"goal": "x"}, "answers: {plan: {}}", None),
    "nightly-report": ({"day": "Monday"}, "answers: {collect: {}}", None),
    "survey": ({"question": "?"}, "answers: {ask: {}}", None),
    "at-home": ({"region": "eu", "text": "t"}, "answers: {translate: {text: t}}", None),
    "jury": (
        {"claim": "c"},
        """
        answers:
          judges: [{vote: true}, {$fails: {code: INVALID_ARGUMENT}}, {vote: false}, {vote: true}]
          fastest: [{text: first}, {text: second}]
        """,
        {"votes": [True, False, True], "summary": "first"},
    ),
    "auction": (
        {"wall": "north", "most": 5.0},
        """
        bids: {paint: [{price: 9}, {price: 3, confidence: 0.5}, {price: 4}]}
        answers: {paint/0: {$fails: {code: ABORTED}}, paint/1: {by: second}}
        """,
        {"by": "second"},
    ),
    "survey-all": (
        {"people": [{"name": f"{number}"} for number in range(5)]},
        """
        answers:
          ask: {text: fine}
          answers/2/ask: {$fails: {code: INVALID_ARGUMENT}}
          sort: {kind: good}
          report: {text: All are fine}
        """,
        "All are fine",
    ),
    "route": (
        {"amount": 2000.0},
        "answers: {order.check: {ok: true}, book_large: {id: b1}}",
        {"id": "b1"},
    ),
    "refine": (
        {"goal": "a poem"},
        """
        answers:
          write: [{text: short}, {text: long}]
          judge: [{good: false, advice: longer}, {good: true, advice: none}]
        """,
        "long",
    ),
    "remind": ({"due": "2026-02-01T09:00:00Z"}, "answers: {remind: {}}", None),
    "approval": (
        {"who": "Ann", "amount": 3.0},
        "answers: {ask: {}, pay: {}}\nsignals: {approval: {yes: true}}",
        None,
    ),
    "morning": (
        {"day": "Monday"},
        "answers: {report-sales: {n: 1}, reports/1/report: {n: 2}, post: {}}",
        None,
    ),
    "order": ({"order": {}}, "answers: {place: {id: o1}}", None),
    "tally": ({}, "", {"count": 3.0, "version": 5.0}),
    "guarded": (
        {"name": "Ann"},
        "answers: {known: {orders: 4, blocked: false}}",
        {"discount": 0.1},
    ),
    "compare": (
        {"left": "l", "right": "r"},
        "answers: {text.summarize: {text: s}, text.compare: {same: true}}",
        {"same": True},
    ),
    "first-answer": (
        {"text": "t"},
        "answers: {fast: {$fails: {code: ABORTED}}, cheap: {text: c}, answer: {text: p}}",
        None,
    ),
    "approve": ({"order": {}}, "answers: {check: {risk: 0.1}, ship: {}}", None),
    "patient": ({"url": "u"}, "answers: {fetch: [{$fails: {}}, {$fails: {}}, {}]}", None),
    "punctual": ({"url": "u"}, "answers: {render: {}}", None),
    "payout": ({"account": "a", "amount": 1.0}, "answers: {pay: {}}", None),
    "careful": (
        {"text": "t"},
        """
        answers:
          translate: {$fails: {code: PERMISSION_DENIED}}
          publish: {$fails: {code: ABORTED, reason: PAGE_LOCKED}}
          ask: {}
        signals: {unlocked: {page: p1}}
        """,
        {"failed": True, "page": {"page": "p1"}},
    ),
    "trip": (
        {"to": "Rome", "price": 9.0},
        "answers: {flight: {booking: f1}, hotel: {booking: h1}, pay: {}}",
        None,
    ),
    "values": (
        {"words": ["a"], "title": "T", "pages": 3.0},
        "answers: {count: {words: 1001}}",
        {"long": True},
    ),
}


def rehearse(yaml: str, given: Mapping[str, Json], canned: str = "") -> Rehearsal:
    read = read_canned(canned)
    assert isinstance(read, Canned), read
    rehearsal = Rehearsal(compiled(yaml), given, read)
    for _ in range(1000):
        if not rehearsal.advance():
            return rehearsal
    raise AssertionError("it does not end")


@pytest.mark.parametrize("name", BLOCKS)
def test_every_example_runs(name: str) -> None:
    given, canned, output = RUNS[name]
    rehearsal = rehearse(BLOCKS[name], given, canned)
    assert rehearsal.state.failure is None
    assert rehearsal.output == output


def test_what_is_undone_is_undone_backwards() -> None:
    canned = """
    answers:
      flight: {booking: f1}
      hotel: {booking: h1}
      pay: {$fails: {code: PERMISSION_DENIED, message: no money}}
      flight.cancel: {}
      hotel.cancel: {}
    """
    rehearsal = rehearse(BLOCKS["trip"], {"to": "Rome", "price": 9.0}, canned)
    assert rehearsal.state.failure is not None
    assert [*rehearsal.steps][-2:] == ["hotel/compensate", "flight/compensate"]
    assert rehearsal.steps["flight/compensate"].input == {"booking": "f1"}
    assert rehearsal.steps["pay"].problem == "no money"


def test_attempts_are_counted_and_waits_are_jumped_over() -> None:
    rehearsal = rehearse(BLOCKS["patient"], {"url": "u"}, "answers: {fetch: [{$fails: {}}, {}]}")
    assert rehearsal.steps["fetch"].attempts == 2
    assert rehearsal.steps["fetch"].status is StepStatus.SUCCEEDED


def test_a_step_without_an_answer_fails_by_saying_so() -> None:
    rehearsal = rehearse(BLOCKS["hello"], {})
    assert rehearsal.steps["greet"].problem == "There is no answer for greet or text.greet"


def test_a_signal_that_never_comes_runs_into_its_timeout() -> None:
    rehearsal = rehearse(
        BLOCKS["approval"], {"who": "Ann", "amount": 3.0}, "answers: {message.post: {}}"
    )
    assert rehearsal.state.failure is None
    assert rehearsal.steps["pay"].status is StepStatus.SKIPPED


def test_there_are_as_many_agents_as_answers() -> None:
    canned = """
    answers:
      judges/0: {vote: true}
      judges/1: {$fails: {code: INVALID_ARGUMENT}}
      fastest: [{$fails: {code: INVALID_ARGUMENT}}, {text: second}]
    """
    rehearsal = rehearse(BLOCKS["jury"], {"claim": "c"}, canned)
    assert rehearsal.steps["judges"].problem == "Step judges/1 failed: as canned"
    assert rehearsal.steps["fastest"].status is StepStatus.CANCELLED
    canned = canned.replace("1: {$fails: {code: INVALID_ARGUMENT}}", "1: {vote: false}")
    rehearsal = rehearse(BLOCKS["jury"], {"claim": "c"}, canned)
    assert rehearsal.output == {"votes": [True, False], "summary": "second"}
    assert rehearsal.steps["judges/1"].input == {"claim": "c"}


@pytest.mark.parametrize(
    ("canned", "problem"),
    [
        ("answers: [1]", "answers: expected an object, found a list"),
        ("answers: {a: 1}", "answers.a: expected an object, found a number"),
        ("answers: {a: []}", "answers.a: is empty: write one answer or several"),
        ("answers: {a: [{}, 1]}", "answers.a[1]: expected an object, found a number"),
        ("answers: {a: {$fails: {cod: X}}}", "answers.a.$fails.cod: there is no key `cod` here"),
        ("answers: {a: {$fails: {code: x}}}", "answers.a.$fails.code: 'x' is not accepted"),
        ("answrs: {}", "answrs: there is no key `answrs` here; did you mean `answers`?"),
        ("bids: {a: [{prise: 1}]}", "bids.a[0].prise: there is no key `prise` here; did you"),
        ("bids: {a: {price: 1}}", "bids.a: expected a list, found an object"),
        ("- 1", ": expected an object, found a list"),
    ],
)
def test_what_is_wrong_with_canned_answers(canned: str, problem: str) -> None:
    read = read_canned(canned)
    assert isinstance(read, list)
    assert f"{read[0].path}: {read[0].message}".startswith(problem)
    assert read[0].line == 1

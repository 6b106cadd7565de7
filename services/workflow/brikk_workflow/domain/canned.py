"""What agents are said to answer, and which signals to come, when a workflow is tried out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from brikk_shared.errors import Reason
from brikk_shared.path import Path
from brikk_workflow.domain.amounts import Money
from brikk_workflow.domain.decision import Bid
from brikk_workflow.domain.failure import Failure
from brikk_workflow.domain.objects import Key, Object
from brikk_workflow.domain.payload import Json
from brikk_workflow.domain.problems import Problem, Report
from brikk_workflow.domain.shapes import UNREAD, Form, Items, Number, Payload, Text, Whole
from brikk_workflow.domain.yaml_text import load_yaml

FAILS = "$fails"
"""The member that makes a failure of an answer."""

_MEMBERS = Payload(max_bytes=1 << 18, max_depth=16, is_object=True)
_CODE = Text(longest=63, form=Form("[A-Z][A-Z0-9_]*", "codes and reasons are in capitals"))


@dataclass(frozen=True, kw_only=True, slots=True)
class CannedBid:
    """What one of the agents bids."""

    cost_micros: int = 0
    seconds: float | None = None
    confidence: float = 1.0
    capacity: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Canned:
    """Answers and bids by the path of a step, its id, or what it calls; signals by name.

    Several answers are given in turn, and the last of them for ever.
    """

    answers: Mapping[str, Sequence[Mapping[str, Json] | Failure]] = field(default_factory=dict)
    signals: Mapping[str, Json] = field(default_factory=dict)
    bids: Mapping[str, Sequence[CannedBid]] = field(default_factory=dict)

    def answer(
        self, path: str, step_id: str, called: str, turn: int
    ) -> Mapping[str, Json] | Failure:
        """Return what a call is answered; `turn` counts those of the same step from 0.

        `called` is the capability, or the workflow that the step runs.
        """
        for name in (path, step_id, called):
            if name in self.answers:
                answers = self.answers[name]
                return answers[min(turn, len(answers) - 1)]
        return Failure(
            code="UNIMPLEMENTED",
            reason=Reason.NO_AGENT,
            message=f"There is no answer for {path} or {called}",
            retryable=False,
        )

    def agents(self, path: str, step_id: str, called: str) -> int:
        """Return for how many agents there are answers, of a step that calls several."""
        names = [each for each in (path, step_id, called) if each in self.bids]
        if names:
            return len(self.bids[names[0]])
        named = (self.answers[each] for each in (step_id, called) if each in self.answers)
        count = len(next(named, ()))
        while f"{path}/{count}" in self.answers:
            count += 1
        return count

    def bid(self, path: str, step_id: str, called: str, agents: Sequence[str]) -> tuple[Bid, ...]:
        """Return what agents bid; those of whom nothing is said do it for nothing."""
        named = (self.bids[each] for each in (path, step_id, called) if each in self.bids)
        said = [*next(named, ()), *(CannedBid() for _ in agents)]
        return tuple(
            Bid(
                agent=agent,
                cost_micros=bid.cost_micros,
                seconds=bid.seconds,
                confidence=bid.confidence,
                capacity=bid.capacity,
            )
            for agent, bid in zip(agents, said, strict=False)
        )


def read_canned(text: str) -> Canned | list[Problem]:
    """Read `answers` and `signals` from YAML, or return what is wrong with it."""
    report = Report()
    raw = load_yaml(text, report) if text.strip() else {}
    members = _CANNED.members(raw, (), report) if not report.problems else None
    if members is None or report.problems:
        return report.in_order()
    answers = {
        name: _answers(value, ("answers", name), report)
        for name, value in members.get("answers", {}).items()
    }
    bids = {
        name: Items(_BID, 100, 1).read(value, ("bids", name), report)
        for name, value in members.get("bids", {}).items()
    }
    if report.problems:
        return report.in_order()
    return Canned(answers=answers, signals=members.get("signals", {}), bids=bids)


def _answers(raw: Json, path: Path, report: Report) -> Sequence[Mapping[str, Json] | Failure]:
    if isinstance(raw, str) or not isinstance(raw, Sequence):
        return _one(raw, path, report)
    if not raw:
        report.value(path, "is empty: write one answer or several")
    return [each for place, item in enumerate(raw) for each in _one(item, (*path, place), report)]


def _one(raw: Json, path: Path, report: Report) -> Sequence[Mapping[str, Json] | Failure]:
    answer = _MEMBERS.read(raw, path, report)
    if answer is UNREAD:
        return []
    if FAILS in answer:
        failure = _FAILURE.read(answer[FAILS], (*path, FAILS), report)
        return [] if failure is UNREAD else [failure]
    return [answer]


def _failure(code: str = "UNAVAILABLE", reason: str = "", message: str = "as canned") -> Failure:
    """Return what an agent of ours fails with: what it calls the reason is in the metadata."""
    metadata = {"agent_reason": reason} if reason else {}
    return Failure(code=code, reason=Reason.AGENT_FAILED, message=message, metadata=metadata)


_FAILURE = Object(
    _failure,
    Key("code", _CODE, "The gRPC code."),
    Key("reason", _CODE, "The agent's own reason."),
    Key("message", Text(longest=1000), "What happened."),
)
_BID = Object(
    CannedBid,
    Key("price", Money(10**6), "What it asks for.", "cost_micros"),
    Key("seconds", Number(0, 31_536_000), "How long it would take."),
    Key("confidence", Number(0, 1), "How sure it is."),
    Key("capacity", Whole(0, 100_000), "How many it could take at once."),
)
_CANNED = Object(
    Canned,
    Key("answers", _MEMBERS, "What agents answer, by the path or the id of a step or capability."),
    Key("signals", _MEMBERS, "What signals carry, by their names."),
    Key("bids", _MEMBERS, "What agents bid, by the path or the id of a step or capability."),
)

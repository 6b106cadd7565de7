"""Who offers the watched capabilities, as a watch tells it piece by piece."""

from __future__ import annotations

from collections.abc import Iterator

from google.protobuf.timestamp_pb2 import Timestamp
from rich.text import Text

from brikk.discovery.v1.discovery_service_pb2 import (
    Candidate,
    Observation,
    WatchCapabilitiesResponse,
)
from brikk_cli.agent_view import agent_state
from brikk_cli.render import moment, plain


class Offers:
    """What the answers of a watch add up to."""

    def __init__(self) -> None:
        self._candidates: dict[tuple[str, str], Candidate] = {}
        self._snapshot_coming = False

    def __iter__(self) -> Iterator[Candidate]:
        """The candidates, by capability and agent."""
        return (self._candidates[key] for key in sorted(self._candidates))

    def take(self, answer: WatchCapabilitiesResponse) -> None:
        """Take in one answer."""
        if answer.HasField("snapshot"):
            if not self._snapshot_coming:
                self._candidates.clear()
            self._snapshot_coming = not answer.snapshot.complete
            for candidate in answer.snapshot.candidates:
                self._candidates[_key(candidate)] = candidate
        if answer.HasField("resync"):
            self._snapshot_coming = False
        for candidate in answer.changes.upserted:
            self._candidates[_key(candidate)] = candidate
        for gone in answer.changes.removed:
            self._candidates.pop((gone.capability, gone.agent), None)
        for observation in answer.observations.observations:
            self._observe(observation)

    def _observe(self, observation: Observation) -> None:
        candidate = self._candidates.get((observation.capability, observation.agent))
        if candidate is not None:
            candidate.observation.CopyFrom(observation)
            candidate.in_flight = observation.in_flight


def news(answer: WatchCapabilitiesResponse) -> Iterator[Text]:
    """A line for each candidate that came, changed or left, where no table can be redrawn."""
    now = Timestamp()
    now.GetCurrentTime()
    time = moment(now)
    for mark, candidates in (("=", answer.snapshot.candidates), ("+", answer.changes.upserted)):
        for each in candidates:
            version = f" {each.version}" if each.version else ""
            yield Text.assemble(
                plain(f"{time} {mark} {each.agent} {each.capability}{version} "),
                agent_state(each.state),
                plain(f" {each.endpoint}"),
            )
    for gone in answer.changes.removed:
        yield plain(f"{time} - {gone.agent} {gone.capability}")
    if answer.HasField("resync"):
        yield plain(f"{time} ! all anew: {answer.resync.reason}")


def _key(candidate: Candidate) -> tuple[str, str]:
    return candidate.capability, candidate.agent

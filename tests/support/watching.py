"""A client of watches as the contract wants one: it keeps what it was told, and no more."""

from __future__ import annotations

from collections.abc import Iterable

from brikk.discovery.v1 import discovery_service_pb2 as pb


class Told:
    """Who offers what, as the messages of one watch told it."""

    def __init__(self) -> None:
        self.candidates: dict[tuple[str, str], pb.Candidate] = {}
        self.resume_token = ""
        self.revision = 0
        self.resyncs: list[str] = []
        self.complete = False
        self._coming: dict[tuple[str, str], pb.Candidate] = {}

    def take(self, message: pb.WatchCapabilitiesResponse) -> str:
        """Take a message in and give its kind."""
        kind = message.WhichOneof("event")
        assert kind is not None
        if kind == "snapshot":
            self._coming |= _by_key(message.snapshot.candidates)
            if message.snapshot.complete:
                self.candidates, self._coming = self._coming, {}
                self.complete = True
            else:
                assert message.resume_token == ""
        elif kind == "changes":
            self.candidates |= _by_key(message.changes.upserted)
            for gone in message.changes.removed:
                self.candidates.pop((gone.agent, gone.capability), None)
        elif kind == "resync":
            self.resyncs.append(message.resync.reason)
            self.complete = False
        if message.resume_token:
            self.resume_token, self.revision = message.resume_token, message.revision
        return kind

    @property
    def agents(self) -> list[str]:
        """The ids of those who offer something, sorted."""
        return sorted({agent.removeprefix("agents/") for agent, _ in self.candidates})


def _by_key(candidates: Iterable[pb.Candidate]) -> dict[tuple[str, str], pb.Candidate]:
    for candidate in candidates:
        assert candidate.rank_reason == ""
    return {(candidate.agent, candidate.capability): candidate for candidate in candidates}

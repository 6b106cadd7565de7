"""Discovery as a test dictates it, for what reaches it through the `Discovery` port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import partial

from brikk.discovery.v1 import discovery_service_pb2 as pb
from brikk.discovery.v1.agent_pb2 import PROTOCOL_BRIKK
from brikk_shared.errors import BrikkError, InvalidArgument, Reason, ResourceExhausted, Unavailable


def candidate(agent: str, capability: str = "t", **more: object) -> pb.Candidate:
    """A candidate by the agent's id; it listens at `<its id>:1` unless told otherwise."""
    given = {"endpoint": f"{agent}:1", "protocol": PROTOCOL_BRIKK, **more}
    return pb.Candidate(agent=f"agents/{agent}", capability=capability, **given)  # type: ignore[arg-type] # any field


@dataclass(kw_only=True)
class ScriptedDiscovery:
    """Agents by capability, the same in every organisation, watched as the contract has it.

    While `down` it does not answer and its watches are broken. While `answering` is clear it is
    silent: questions wait, and watches tell nothing.
    """

    asked: list[tuple[str, str]] = field(default_factory=list)
    """The questions: organisation and capability."""
    watches: list[tuple[str, frozenset[str], str]] = field(default_factory=list)
    """The watches ever begun: organisation, capabilities, resume token."""
    reports: list[tuple[str, list[pb.Outcome]]] = field(default_factory=list)
    answering: asyncio.Event = field(default_factory=asyncio.Event)
    contracts: dict[str, pb.CapabilityContract] = field(default_factory=dict)
    """What candidates may name, by its id."""
    refuses_watches: bool = False
    """Whether it has as many watchers as it takes."""

    def __post_init__(self) -> None:
        self.answering.set()
        self._down = False
        self._breaks = 0
        self._offers: dict[tuple[str, str], pb.Candidate] = {}
        self._log: list[tuple[str, str]] = []
        self._hints: list[pb.Observation] = []
        self._oldest = 0
        self._notation = ""
        self._news = asyncio.Condition()

    @property
    def down(self) -> bool:
        """Whether it is away."""
        return self._down

    async def set_down(self, *, down: bool) -> None:
        """Takes it away, or brings it back."""
        self._down = down
        await self.break_watches()

    async def offer(self, *candidates: pb.Candidate) -> None:
        """Makes these offer their capability from now on, as told last."""
        async with self._news:
            for each in candidates:
                self._offers[each.capability, each.agent] = each
                self._log.append((each.capability, each.agent))
            self._news.notify_all()

    async def withdraw(self, agent: str, capability: str = "t") -> None:
        """Makes an agent offer a capability no more."""
        async with self._news:
            self._offers.pop((capability, f"agents/{agent}"))
            self._log.append((capability, f"agents/{agent}"))
            self._news.notify_all()

    async def observe(self, *observations: pb.Observation) -> None:
        """Hints to the watchers how agents fare."""
        async with self._news:
            self._hints += observations
            self._news.notify_all()

    async def break_watches(self) -> None:
        """Ends every watch under way with an error."""
        async with self._news:
            self._breaks += 1
            self._news.notify_all()

    async def until_watched(self, count: int) -> None:
        """Waits until so many watches were begun in all."""
        async with self._news:
            await self._news.wait_for(lambda: len(self.watches) >= count)

    def forget_changes(self) -> None:
        """Remembers no change so far: whoever resumes is told to begin anew."""
        self._oldest = len(self._log)

    def renounce_tokens(self) -> None:
        """Writes its tokens differently from now on, and reads none of those it wrote before."""
        self._notation += "new "

    async def resolve(self, organization: str, capability: str) -> pb.ResolveCapabilityResponse:
        """Answers; remembers what was asked for."""
        self.asked.append((organization, capability))
        await self.answering.wait()
        if self.down:
            raise _away()
        found = [each for each in self._offers.values() if each.capability == capability]
        return pb.ResolveCapabilityResponse(candidates=found, contracts=self.contracts.values())

    async def watch(
        self, organization: str, capabilities: Collection[str], resume_token: str
    ) -> AsyncGenerator[pb.WatchCapabilitiesResponse, None]:
        """Tells everything, then what changes; a token is of a watch and a number of changes."""
        watched, breaks, hints = frozenset(capabilities), self._breaks, len(self._hints)
        async with self._news:
            self.watches.append((organization, watched, resume_token))
            self._news.notify_all()
        await self.answering.wait()
        if self.down:
            raise _away()
        if self.refuses_watches:
            raise ResourceExhausted(Reason.QUOTA_EXCEEDED, "too many watchers")
        about = self._notation + " ".join(sorted(watched))
        bound, _, number = resume_token.partition("@")
        if resume_token and bound != about:
            raise InvalidArgument(Reason.INVALID_PAGE_TOKEN, "the token is of another watch")
        seen = int(number or 0)
        if resume_token and seen < self._oldest:
            yield pb.WatchCapabilitiesResponse(resync=pb.CapabilityResync(reason="too old"))
        if not resume_token or seen < self._oldest:
            # In two parts, the first of them never complete.
            seen = len(self._log)
            offers = [each for each in self._offers.values() if each.capability in watched]
            if self.contracts:
                yield self._contracts()
            yield pb.WatchCapabilitiesResponse(snapshot=pb.CapabilitySnapshot(candidates=offers))
            yield pb.WatchCapabilitiesResponse(
                snapshot=pb.CapabilitySnapshot(complete=True), resume_token=f"{about}@{seen}"
            )
        else:
            yield pb.WatchCapabilitiesResponse(
                bookmark=pb.CapabilityBookmark(), resume_token=resume_token
            )
        while True:
            async with self._news:
                await self._news.wait_for(partial(self._moved, (seen, hints, breaks)))
            await self.answering.wait()
            if self._breaks != breaks:
                raise _away()
            changed, seen = set(self._log[seen:]), len(self._log)
            changed = {key for key in changed if key[0] in watched}
            if changed:
                if self.contracts:
                    yield self._contracts()
                yield pb.WatchCapabilitiesResponse(
                    changes=self._changes(changed), resume_token=f"{about}@{seen}"
                )
            told, hints = self._hints[hints:], len(self._hints)
            if told:
                yield pb.WatchCapabilitiesResponse(
                    observations=pb.CapabilityObservations(observations=told)
                )

    def _moved(self, before: tuple[int, int, int]) -> bool:
        return (len(self._log), len(self._hints), self._breaks) != before

    async def report(self, organization: str, outcomes: Sequence[pb.Outcome]) -> None:
        """Takes a report in."""
        await self.answering.wait()
        if self.down:
            raise _away()
        self.reports.append((organization, list(outcomes)))

    def _contracts(self) -> pb.WatchCapabilitiesResponse:
        told = pb.CapabilityContracts(contracts=self.contracts.values())
        return pb.WatchCapabilitiesResponse(contracts=told)

    def _changes(self, keys: AbstractSet[tuple[str, str]]) -> pb.CapabilityChanges:
        return pb.CapabilityChanges(
            upserted=[self._offers[key] for key in keys if key in self._offers],
            removed=[
                pb.CandidateKey(capability=capability, agent=agent)
                for capability, agent in keys - self._offers.keys()
            ],
        )


def _away() -> BrikkError:
    return Unavailable(Reason.DEPENDENCY_UNAVAILABLE, "discovery is down")

"""Who offers what in one organisation, as discovery answered and its watch told."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC
from typing import TypeAlias

from brikk.discovery.v1 import agent_pb2
from brikk.discovery.v1 import discovery_service_pb2 as pb
from brikk_shared.label_selector import parse_selector
from brikk_shared.selection import Group, Observation, Option

MAX_SELECTORS = 100
"""Selections of a roster that are kept until it changes."""

# A discovery that does not say what its agents speak is of a time when there was one protocol.
_SPOKEN = frozenset({agent_pb2.PROTOCOL_UNSPECIFIED, agent_pb2.PROTOCOL_BRIKK})

_Contract: TypeAlias = tuple[str, str]
"""The schemas of input and output."""


class Roster:
    """The agents that offer one capability.

    Attributes:
        group: who is asked for.
        options: the agents; the same tuple until something changes.
        known: whether discovery was asked, even if it gave no answer.
        used: whether anybody looked here since this was last made false.
    """

    __slots__ = ("_found", "_narrowed", "group", "known", "options", "used")

    def __init__(self, group: Group) -> None:
        self.group = group
        self.options: tuple[Option, ...] = ()
        self.known = False
        self.used = True
        self._found: dict[str, Option] = {}
        self._narrowed: dict[str, Roster] = {}

    def narrowed(self, selector: str) -> Roster:
        """Returns the roster of those whose labels match; all match an empty selector."""
        if not selector:
            return self
        roster = self._narrowed.get(selector)
        if roster is None:
            if len(self._narrowed) >= MAX_SELECTORS:
                self._narrowed.clear()
            wanted = parse_selector(selector)
            roster = self._narrowed[selector] = Roster(self.group._replace(filter=selector))
            roster.replace(
                each for each in self.options if all(need.holds(each.labels) for need in wanted)
            )
        return roster

    def live(self) -> Sequence[Option]:
        """Returns those that discovery does not doubt, or all when there is no other."""
        return [each for each in self.options if not each.suspect] or self.options

    def find(self, agent: str) -> Option | None:
        """Returns the agent of this name."""
        return self._found.get(agent)

    def replace(self, options: Iterable[Option]) -> None:
        """Takes these for all there are."""
        self._found = {each.agent: each for each in options}
        self._show()

    def change(self, upserted: Iterable[Option], removed: Iterable[str]) -> None:
        """Takes in those that came or changed, and lets go of those that went."""
        for agent in removed:
            self._found.pop(agent, None)
        for option in upserted:
            self._found[option.agent] = option
        self._show()

    def observe(self, observations: Iterable[pb.Observation], now: float) -> None:
        """Takes in how its agents fare; of others it knows nothing."""
        for each in observations:
            if found := self._found.get(each.agent):
                self._found[each.agent] = replace(
                    found, in_flight=each.in_flight, observation=_to_observation(each, now)
                )
        self._show()

    def _show(self) -> None:
        self.known = True
        self.options = tuple(self._found.values())
        self._narrowed.clear()


class View:
    """The rosters of one organisation, those that its watch tells of among them.

    What a watch told stays when it breaks, until another one knows better.
    """

    def __init__(self, organization: str) -> None:
        self.organization = organization
        self.rosters: dict[str, Roster] = {}
        self._told: set[str] = set()
        self._resume_token = ""
        self._watched: frozenset[str] = frozenset()
        self._snapshot: defaultdict[str, list[Option]] = defaultdict(list)
        self._contracts: dict[str, _Contract] = {}
        """Those that the next candidates name."""

    def want(self, capability: str) -> Roster:
        """Returns the roster of a capability, empty at first."""
        roster = self.rosters.get(capability)
        if roster is None:
            group = Group(self.organization, capability)
            roster = self.rosters[capability] = Roster(group)
        return roster

    def drop(self, capability: str) -> None:
        """Forgets a capability, also if the watch goes on to tell of it."""
        del self.rosters[capability]
        self._told.discard(capability)

    def tells_of(self, capability: str) -> bool:
        """Whether the last watch told all about a capability."""
        return capability in self._told

    def begin(self) -> tuple[Collection[str], str]:
        """A watch of all rosters begins: returns their capabilities and where to resume.

        Only a watch about the same can be resumed.
        """
        watched = frozenset(self.rosters)
        if watched != self._watched or watched != self._told:
            self.begin_anew()
        self._watched = watched
        self._snapshot.clear()
        self._contracts.clear()
        return watched, self._resume_token

    def begin_anew(self) -> None:
        """The next watch does not go on where the last one was."""
        self._resume_token = ""

    def answer(self, capability: str, answer: pb.ResolveCapabilityResponse, now: float) -> None:
        """Takes in discovery's answer about a capability, from which no watch can go on."""
        roster = self.rosters.get(capability)
        if roster is not None:
            contracts = _to_contracts(answer.contracts)
            roster.replace(
                _to_option(each, now, contracts) for each in answer.candidates if _speaks(each)
            )
            self.begin_anew()

    def apply(self, message: pb.WatchCapabilitiesResponse, now: float) -> Collection[str]:
        """Takes in a message; returns the capabilities whose agents came or went.

        `now` is the clock's monotonic seconds.
        """
        changed: Collection[str] = ()
        match message.WhichOneof("event"):
            case "snapshot":
                changed = self._take_snapshot(message.snapshot, now)
            case "changes":
                changed = self._take_changes(message.changes, now)
            case "contracts":
                self._contracts |= _to_contracts(message.contracts.contracts)
            case "observations":
                self._take_observations(message.observations, now)
            case "resync":
                self.begin_anew()
                self._snapshot.clear()
                return ()
        if message.resume_token:
            self._resume_token = message.resume_token
        return changed

    def _take_snapshot(self, part: pb.CapabilitySnapshot, now: float) -> Collection[str]:
        for each in part.candidates:
            if _speaks(each):
                option = _to_option(each, now, self._contracts)
                self._snapshot[each.capability].append(option)
        self._contracts.clear()
        if not part.complete:
            return ()
        told = self._watched & self.rosters.keys()
        for capability in told:
            self.rosters[capability].replace(self._snapshot[capability])
        self._told = set(told)
        self._snapshot.clear()
        return told

    def _take_changes(self, changes: pb.CapabilityChanges, now: float) -> Collection[str]:
        upserted: defaultdict[str, list[Option]] = defaultdict(list)
        removed: defaultdict[str, list[str]] = defaultdict(list)
        for each in changes.upserted:
            if _speaks(each):
                upserted[each.capability].append(_to_option(each, now, self._contracts))
            else:
                removed[each.capability].append(each.agent)
        self._contracts.clear()
        for key in changes.removed:
            removed[key.capability].append(key.agent)
        told = self._told & (upserted.keys() | removed.keys())
        for capability in told:
            self.rosters[capability].change(upserted[capability], removed[capability])
        return told

    def _take_observations(self, hint: pb.CapabilityObservations, now: float) -> None:
        observed: defaultdict[str, list[pb.Observation]] = defaultdict(list)
        for each in hint.observations:
            observed[each.capability].append(each)
        for capability in self._told & observed.keys():
            self.rosters[capability].observe(observed[capability], now)


def _speaks(candidate: pb.Candidate) -> bool:
    return candidate.protocol in _SPOKEN


def _to_contracts(contracts: Iterable[pb.CapabilityContract]) -> dict[str, _Contract]:
    return {each.id: (each.input_schema, each.output_schema) for each in contracts}


def _to_option(candidate: pb.Candidate, now: float, contracts: Mapping[str, _Contract]) -> Option:
    input_schema, output_schema = contracts.get(candidate.contract, ("", ""))
    return Option(
        agent=candidate.agent,
        endpoint=candidate.endpoint,
        zone=candidate.zone,
        suspect=candidate.state == agent_pb2.Agent.STATE_SUSPECT,
        capacity=candidate.capacity,
        in_flight=candidate.in_flight,
        cost_micros=candidate.cost_micros,
        latency=candidate.latency.ToTimedelta() if candidate.HasField("latency") else None,
        register_time=(
            candidate.register_time.ToDatetime(tzinfo=UTC)
            if candidate.HasField("register_time")
            else None
        ),
        observation=_to_observation(candidate.observation, now),
        input_schema=input_schema,
        output_schema=output_schema,
        labels=dict(candidate.labels),
    )


def _to_observation(message: pb.Observation, now: float) -> Observation | None:
    if not message.calls:
        return None
    return Observation(
        calls=message.calls,
        success_rate=message.success_rate,
        latency=message.latency.ToTimedelta() if message.HasField("latency") else None,
        quality=message.quality,
        receive_time=now,
    )

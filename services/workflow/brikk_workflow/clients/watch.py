"""Keeps the view of each organisation true, by one watch of discovery for each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from contextlib import aclosing
from datetime import timedelta

import structlog

from brikk.discovery.v1 import discovery_service_pb2 as pb
from brikk_shared.clock import Clock
from brikk_shared.errors import BrikkError, Reason
from brikk_workflow.clients.discovery import Discovery
from brikk_workflow.clients.view import Roster, View

log = structlog.get_logger()

MAX_ORGANIZATIONS = 500
MAX_CAPABILITIES = 1000
"""Of one organisation; the most that one watch may be about."""
GATHERING = timedelta(milliseconds=250)
"""How long a watch lasts at least before another takes its place that is about more: a snapshot
is not asked for with each capability that comes into use."""
DISUSE = timedelta(minutes=10)
"""A capability that nobody looked for in so long is forgotten, at most as long again later."""
FIRST_PAUSE = timedelta(milliseconds=200)
LONGEST_PAUSE = timedelta(seconds=5)
"""A watch that broke is begun anew after a random part of a pause that doubles up to this."""

Offered = Callable[[str, str], None]
"""Told of an organisation and a capability when somebody offers it after a change."""


class Watch:
    """Who offers what, to the knowledge of this process, in the organisations it works for.

    Past `MAX_ORGANIZATIONS` and `MAX_CAPABILITIES` what came first is forgotten first, that which
    was not used lately before the rest: it is asked for again when it is needed.
    """

    def __init__(self, discovery: Discovery, *, clock: Clock, random: Callable[[], float]) -> None:
        self._discovery = discovery
        self._clock = clock
        self._random = random
        self._streams: dict[str, _Stream] = {}
        self._news = asyncio.Event()
        self._offered: list[Offered] = []

    def subscribe(self, offered: Offered) -> None:
        """Tells this of each change from now on."""
        self._offered.append(offered)

    @property
    def live(self) -> int:
        """Organisations of which everything is known now."""
        return sum(each.live for each in self._streams.values())

    @property
    def organizations(self) -> int:
        """Organisations that are watched, or would be if discovery were there."""
        return len(self._streams)

    @property
    def candidates(self) -> int:
        """Agents known, each counted once for each of its capabilities."""
        return sum(
            len(roster.options)
            for stream in self._streams.values()
            for roster in stream.view.rosters.values()
        )

    def roster(self, organization: str, capability: str) -> Roster | None:
        """Returns who offers a capability, None when that was never asked for."""
        stream = self._streams.get(organization)
        roster = stream.view.rosters.get(capability) if stream else None
        if roster is not None:
            roster.used = True
        return roster

    def covers(self, organization: str, capability: str) -> bool:
        """Whether a roster is true at this moment, so that there is nothing to ask discovery."""
        stream = self._streams.get(organization)
        return stream is not None and stream.live and stream.view.tells_of(capability)

    def want(self, organization: str, capability: str) -> Roster:
        """Begins to watch a capability; returns who is known to offer it."""
        stream = self._streams.get(organization)
        if stream is None:
            if len(self._streams) >= MAX_ORGANIZATIONS:
                del self._streams[next(iter(self._streams))]
            stream = self._streams[organization] = _Stream(
                View(organization),
                self._discovery,
                clock=self._clock,
                random=self._random,
                offered=self._tell,
            )
            self._news.set()
        return stream.want(capability)

    def answer(
        self, organization: str, capability: str, answer: pb.ResolveCapabilityResponse
    ) -> None:
        """Takes in what discovery answered, unless the watch told meanwhile and knows better."""
        stream = self._streams.get(organization)
        if stream is not None and not self.covers(organization, capability):
            stream.answer(capability, answer)

    async def run(self) -> None:
        """Watches for ever; begun again, it loses nothing of what is known."""
        tasks: dict[_Stream, asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as group:
            while True:
                self._news.clear()
                current = set(self._streams.values())
                for stream in tasks.keys() - current:
                    tasks.pop(stream).cancel()
                for stream in current - tasks.keys():
                    tasks[stream] = group.create_task(stream.follow())
                await self._news.wait()

    async def tidy(self) -> None:
        """Forgets for ever what is used no more."""
        while True:
            await self._clock.sleep(DISUSE)
            for organization, stream in list(self._streams.items()):
                if not stream.forget_unused():
                    del self._streams[organization]
                    self._news.set()

    def _tell(self, organization: str, capability: str) -> None:
        for offered in self._offered:
            offered(organization, capability)


class _Stream:
    """The watch of one organisation."""

    def __init__(
        self,
        view: View,
        discovery: Discovery,
        *,
        clock: Clock,
        random: Callable[[], float],
        offered: Offered,
    ) -> None:
        self.view = view
        self.live = False
        self._discovery = discovery
        self._clock = clock
        self._random = random
        self._offered = offered
        self._grown = asyncio.Event()

    def want(self, capability: str) -> Roster:
        """Begins to watch a capability."""
        rosters = self.view.rosters
        if capability not in rosters:
            if len(rosters) >= MAX_CAPABILITIES:
                unused = (name for name, roster in rosters.items() if not roster.used)
                self.view.drop(next(unused, None) or next(iter(rosters)))
            self._grown.set()
        return self.view.want(capability)

    def answer(self, capability: str, answer: pb.ResolveCapabilityResponse) -> None:
        """Takes in what discovery answered about a capability."""
        self.view.answer(capability, answer, self._clock.monotonic())
        self._tell([capability])

    def forget_unused(self) -> bool:
        """Forgets what nobody looked for since this was last called; whether anything is left."""
        for capability, roster in list(self.view.rosters.items()):
            if roster.used:
                roster.used = False
            else:
                self.view.drop(capability)
        return bool(self.view.rosters)

    async def follow(self) -> None:
        """Watches for ever: begins anew when the watch broke, and when it must be about more."""
        failures = 0
        while True:
            self._grown.clear()
            reading = asyncio.create_task(self._read(failures))
            growing = asyncio.create_task(self._outgrow())
            try:
                await asyncio.wait({reading, growing}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                reading.cancel()
                growing.cancel()
                await asyncio.gather(reading, growing, return_exceptions=True)
                self.live = False
            if reading.cancelled():
                continue
            if reading.result():
                failures = 0
            else:
                failures += 1
                await self._ask_instead()
            longest = min(FIRST_PAUSE * 2 ** min(failures, 10), LONGEST_PAUSE)
            await self._clock.sleep(longest * self._random())

    async def _outgrow(self) -> None:
        await self._clock.sleep(GATHERING)
        await self._grown.wait()

    async def _read(self, failures: int) -> bool:
        """Watches until the stream ends; returns whether it told anything."""
        told = False
        capabilities, resume_token = self.view.begin()
        messages = self._discovery.watch(self.view.organization, capabilities, resume_token)
        try:
            async with aclosing(messages):
                async for message in messages:
                    told = True
                    self._tell(self.view.apply(message, self._clock.monotonic()))
                    if message.HasField("resync"):
                        self.live = False
                    elif message.resume_token:
                        self.live = True
        except BrikkError as error:
            if error.reason is Reason.INVALID_PAGE_TOKEN:
                self.view.begin_anew()
            # Every stream ends one day; what deserves attention is one that cannot be begun.
            if not told and not failures:
                organization = self.view.organization
                log.warning("discovery is away", organization=organization, reason=error.reason)
        return told

    async def _ask_instead(self) -> None:
        """Asks about each capability: discovery may answer though it takes no more watches."""
        for capability in list(self.view.rosters):
            try:
                answer = await self._discovery.resolve(self.view.organization, capability)
            except BrikkError:
                return  # it is away
            self.answer(capability, answer)

    def _tell(self, capabilities: Collection[str]) -> None:
        """Tells which of these capabilities somebody offers."""
        for capability in capabilities:
            roster = self.view.rosters.get(capability)
            if roster is not None and roster.options:
                self._offered(self.view.organization, capability)

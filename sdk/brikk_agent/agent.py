"""An agent: its handlers, and how it is served."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import secrets
import signal
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import TypeVar

from brikk.discovery.v1 import agent_pb2, discovery_service_pb2
from brikk_agent.bids import Bidder
from brikk_agent.capability import Capability, Handler, Offer
from brikk_agent.connection import Connection, NotConnected
from brikk_agent.errors import CannotStart
from brikk_agent.registration import Load, Registration
from brikk_agent.runtime import Runtime
from brikk_agent.serving import Serving, begin_to_serve
from brikk_agent.structs import Json
from brikk_agent.tokens import CallTokens

log = logging.getLogger(__name__)

_H = TypeVar("_H", bound=Handler)
_NAME = re.compile(r"[a-z]([a-z0-9-]*[a-z0-9])?")
# Leaves room for the random end of an instance's id, of which the contract allows 63 characters.
_NAME_LENGTH = 54


class Agent:
    """An agent that Brikk can find by its capabilities and call.

    ::

        agent = Agent("summarizer", description="Shortens texts")

        @agent.capability("text.summarize")
        def summarize(text: str, sentences: int = 3) -> dict[str, str]:
            ...

        if __name__ == "__main__":
            agent.run()

    `capacity` is how many calls it takes at once; more are refused, and the caller tries elsewhere.
    `grace` is how long calls in flight may take to end when it stops. Arguments that are None come
    from the environment: `agent_id` (unique per running instance; the name and a random end unless
    set) from BRIKK_AGENT_ID, `listen` (`host:port`, 127.0.0.1 and a free port unless set) from
    BRIKK_AGENT_LISTEN, `advertise` (where callers reach it, if elsewhere) from
    BRIKK_AGENT_ADVERTISE. Calls need a token from the suite; `insecure` or BRIKK_AGENT_INSECURE=1
    lets anybody call. `connection` says where the suite is, Connection.load() unless given.
    """

    def __init__(
        self,
        name: str,
        *,
        description: str = "",
        version: str = "",
        zone: str = "",
        labels: Mapping[str, str] | None = None,
        capacity: int = 64,
        grace: timedelta = timedelta(seconds=20),
        agent_id: str | None = None,
        listen: str | None = None,
        advertise: str | None = None,
        insecure: bool | None = None,
        connection: Connection | None = None,
    ) -> None:
        if not _NAME.fullmatch(name) or len(name) > _NAME_LENGTH:
            raise ValueError(
                f"{name!r} is no agent name: lower case letters, digits and inner hyphens, "
                f"at most {_NAME_LENGTH}"
            )
        if capacity < 1:
            raise ValueError("an agent takes at least one call at once")
        self._display_name = name
        self._description = description
        self._version = version
        self._zone = zone
        self._labels = dict(labels or {})
        self._capacity = capacity
        self._grace = grace
        environment = os.environ
        self._id = agent_id or environment.get("BRIKK_AGENT_ID") or f"{name}-{secrets.token_hex(4)}"
        self._listen = listen or environment.get("BRIKK_AGENT_LISTEN") or "127.0.0.1:0"
        self._advertise = advertise or environment.get("BRIKK_AGENT_ADVERTISE") or ""
        if insecure is None:
            insecure = environment.get("BRIKK_AGENT_INSECURE", "").lower() in ("1", "true", "yes")
        self._insecure = insecure
        self._connection = connection
        self._capabilities: dict[str, Capability] = {}
        self._bidders: dict[str, Bidder] = {}
        self._ready = True
        self._serving: Serving | None = None

    @property
    def name(self) -> str:
        """Its name in the registry: `agents/{agent}`."""
        return f"agents/{self._id}"

    @property
    def endpoint(self) -> str:
        """Where it is called, `host:port`; known while it runs."""
        return self._running().endpoint

    @property
    def ready(self) -> bool:
        """Whether it takes new work: set it to False while, for instance, a model is loading.

        The registry is told at once. Calls that come all the same are served.
        """
        return self._ready

    @ready.setter
    def ready(self, ready: bool) -> None:
        self._ready = ready
        if self._serving is not None:
            self._serving.beat()

    def capability(
        self,
        name: str,
        *,
        description: str = "",
        tags: Sequence[str] = (),
        version: str = "",
        examples: Sequence[str] = (),
        cost_micros: int = 0,
        latency: timedelta | None = None,
        input_schema: Mapping[str, Json] | None = None,
        output_schema: Mapping[str, Json] | None = None,
    ) -> Callable[[_H], _H]:
        """Registers the decorated function as the handler of a capability.

        The caller's input is bound to the parameters by name and checked against their types; a
        parameter annotated `Context` receives the call's. A synchronous handler runs in a thread.
        The docstring's first paragraph is the description unless one is given; see `Offer` for the
        rest, the schemas among it: where none is given, the signature is registered as one. The
        function itself stays as it is. Raises TypeError for a signature that JSON cannot express.
        """

        offer = Offer(
            description=description,
            tags=tags,
            version=version,
            examples=examples,
            cost_micros=cost_micros,
            latency=latency,
            input_schema=input_schema,
            output_schema=output_schema,
        )

        def register(handler: _H) -> _H:
            if name in self._capabilities:
                raise ValueError(f"{name!r} has a handler already")
            self._capabilities[name] = Capability.of(name, handler, offer)
            return handler

        return register

    def bid(self, name: str) -> Callable[[_H], _H]:
        """Registers the decorated function as the one that bids for work of a capability.

        It takes the members of the input that it names, as the handler of the capability does, and
        returns a `Bid`, or None for none. Workflows ask for bids with `select: bids`; without such
        a function the agent bids what it registered: the `cost_micros` and `latency` of the
        capability. Raises TypeError for a signature that JSON cannot express.
        """

        def register(handler: _H) -> _H:
            if name in self._bidders:
                raise ValueError(f"{name!r} has a function that bids already")
            self._bidders[name] = Bidder.of(name, handler)
            return handler

        return register

    def run(self) -> None:
        """Serves until SIGTERM or SIGINT, drains, and returns; for `if __name__ == "__main__"`.

        Exits with a message and status 1 when it cannot start, and with status 1 when calls did
        not end within the grace.
        """
        logging.basicConfig(
            level=logging.INFO, format="%(asctime)s %(levelname)-7s %(name)s %(message)s"
        )
        try:
            drained = asyncio.run(self._until_signalled())
        except (CannotStart, NotConnected) as error:
            raise SystemExit(f"{self._display_name} cannot run: {error}") from error
        if not drained:
            # A handler that hangs in a thread would keep the interpreter from exiting.
            logging.shutdown()
            os._exit(1)

    async def serve(self) -> None:
        """Serves until it is cancelled or `stop` is called, for use in a program of your own.

        Raises CannotStart when it cannot run as it is set up, or when another process took its
        place in the registry; NotConnected when no suite is known.
        """
        await self.start()
        try:
            await self._running().until_stopped()
        finally:
            await self.stop()

    async def start(self) -> None:
        """Begins to serve, and to register in the background; `stop` ends it."""
        if self._serving is not None:
            raise RuntimeError("the agent runs already")
        if not self._capabilities:
            raise CannotStart("it has no capability; decorate a function with @agent.capability")
        if unknown := self._bidders.keys() - self._capabilities:
            raise CannotStart(f"it bids for {min(unknown)!r}, which it has no capability for")
        runtime = Runtime(
            domain=self._display_name,
            capabilities=self._capabilities,
            bidders=self._bidders,
            capacity=self._capacity,
            tokens=self._tokens(self._connect()),
        )
        self._serving = await begin_to_serve(
            runtime,
            listen=self._listen,
            advertise=self._advertise,
            register=lambda endpoint: Registration(
                self._request(endpoint),
                connect=self._connect,
                load=lambda: Load(in_flight=runtime.in_flight, ready=self._ready),
            ),
        )

    async def registered(self) -> None:
        """Returns once the registry knows the running agent; raises CannotStart if it refuses."""
        await self._running().until_registered()

    async def stop(self) -> bool:
        """Leaves the registry, lets calls in flight end within the grace, and stops.

        Returns whether they all ended. An agent that does not run has nothing to end.
        """
        if self._serving is None:
            return True
        log.info("%s stops", self.name)
        serving, self._serving = self._serving, None
        serving.ask_to_stop()
        return await serving.drain(self._grace)

    async def _until_signalled(self) -> bool:
        await self.start()
        serving = self._running()
        loop = asyncio.get_running_loop()

        def signalled() -> None:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)  # a second one ends the process at once
            serving.ask_to_stop()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, signalled)
        try:
            await serving.until_stopped()
        finally:
            drained = await self.stop()
        return drained

    def _running(self) -> Serving:
        if self._serving is None:
            raise RuntimeError("the agent does not run")
        return self._serving

    def _tokens(self, connection: Connection) -> CallTokens | None:
        if self._insecure:
            log.warning("%s checks no tokens: anybody may call it", self.name)
            return None
        if not connection.call_jwks:
            raise CannotStart(
                "it does not know the keys that calls are signed with; run `brikk up`, set "
                "BRIKK_CALL_JWKS, or let anybody call it with BRIKK_AGENT_INSECURE=1"
            )
        return CallTokens(connection.call_jwks, self.name)

    def _connect(self) -> Connection:
        return self._connection or Connection.load()

    def _request(self, endpoint: str) -> discovery_service_pb2.RegisterAgentRequest:
        service = agent_pb2.AgentService(
            service_id=self._display_name,
            description=self._description,
            capabilities=[each.describe() for each in self._capabilities.values()],
        )
        return discovery_service_pb2.RegisterAgentRequest(
            agent_id=self._id,
            agent=agent_pb2.Agent(
                name=self.name,
                display_name=self._display_name,
                endpoint=endpoint,
                zone=self._zone,
                version=self._version,
                labels=self._labels,
                services=[service],
                capacity=self._capacity,
            ),
            incarnation=str(uuid.uuid4()),
        )

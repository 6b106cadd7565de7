"""A webhook endpoint on this machine that trusts nothing it cannot verify."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from aiohttp import web

from brikk_agent.webhooks import WebhookRefused, WebhookVerifier
from brikk_cli.failures import CommandError, ExitCode
from brikk_cli.ports import HOST


@dataclass(frozen=True, kw_only=True, slots=True)
class Arrival:
    """A request whose signature is right."""

    webhook_id: str
    event: Mapping[str, object]


class Receiver:
    """Listens from `async with` to its end and counts the deliveries whose signature is right.

    Args:
        keys: secrets and public keys that verify; a secret is made when there are none.
        port: where it listens; a free one when 0.
        arrived: called with each request whose signature is right.
        turned_away: called with why another one was refused.

    Raises:
        CommandError: a key is malformed; when entered, the port is taken.
    """

    def __init__(
        self,
        keys: Sequence[str] = (),
        *,
        port: int = 0,
        arrived: Callable[[Arrival], None] = lambda _: None,
        turned_away: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
        """What verifies when it was given no keys."""
        self.verified: set[str] = set()
        """Their `webhook-id`s: a delivery that comes twice counts once."""
        self.refused: list[str] = []
        """Why the others were refused."""
        try:
            self._verifier = WebhookVerifier(list(keys) or self.secret)
        except ValueError as error:
            raise CommandError(str(error), exit_code=ExitCode.USAGE) from None
        self._port = port
        self._arrived = arrived
        self._turned_away = turned_away
        application = web.Application()
        application.router.add_post("/", self._receive)
        application.router.add_options("/", self._agree)
        self._runner = web.AppRunner(application, access_log=None)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, HOST, self._port).start()
        except OSError as error:
            await self._runner.cleanup()
            raise CommandError(f"cannot listen on port {self._port}: {error.strerror}") from None
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        await self._runner.cleanup()

    @property
    def url(self) -> str:
        """Where it listens."""
        [(host, port)] = self._runner.addresses
        return f"http://{host}:{port}/"

    async def _receive(self, request: web.Request) -> web.Response:
        body = await request.read()
        try:
            event = self._verifier.verify(request.headers, body)
        except WebhookRefused as refusal:
            self.refused.append(str(refusal))
            self._turned_away(str(refusal))
            return web.Response(status=400)
        webhook_id = request.headers["webhook-id"]
        self.verified.add(webhook_id)
        self._arrived(Arrival(webhook_id=webhook_id, event=event))
        return web.Response(status=204)

    async def _agree(self, request: web.Request) -> web.Response:
        """Answer a service that asks whether it may post here."""
        origin = request.headers.get("WebHook-Request-Origin", "*")
        return web.Response(status=204, headers={"WebHook-Allowed-Origin": origin})

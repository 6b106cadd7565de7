"""A webhook endpoint on this machine that trusts nothing it cannot verify."""

from __future__ import annotations

import base64
import secrets
from types import TracebackType
from typing import Self

from aiohttp import web

from brikk_agent.webhooks import WebhookRefused, WebhookVerifier
from brikk_cli.ports import HOST


class Receiver:
    """Listens from `async with` to its end and counts the deliveries whose signature is right."""

    def __init__(self) -> None:
        self.secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
        self.verified: set[str] = set()
        """Their `webhook-id`s: a delivery that comes twice counts once."""
        self.refused: list[str] = []
        """Why the others were refused."""
        self._verifier = WebhookVerifier(self.secret)
        application = web.Application()
        application.router.add_post("/", self._receive)
        self._runner = web.AppRunner(application, access_log=None)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, HOST, 0).start()
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
            self._verifier.verify(request.headers, body)
        except WebhookRefused as refusal:
            self.refused.append(str(refusal))
            return web.Response(status=400)
        self.verified.add(request.headers["webhook-id"])
        return web.Response(status=204)

"""Keys of an issuer that publishes them at a URL: fetched, rotated, withdrawn, out of reach."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from brikk_shared.errors import Unauthenticated
from brikk_shared.identity import IssuerSettings, TokenVerifier
from brikk_shared.signing import TokenSigner, create_signing_key
from brikk_shared.testing import ManualClock

_ISSUER = "https://idp.example"


@dataclass
class _Idp:
    keys: list[Any] = field(default_factory=list)
    status: int = 200
    fetches: int = 0
    url: str = ""

    async def serve(self, request: web.Request) -> web.Response:
        self.fetches += 1
        return web.json_response({"keys": self.keys}, status=self.status)


@pytest.fixture
async def idp() -> AsyncIterator[_Idp]:
    idp = _Idp()
    application = web.Application()
    application.router.add_get("/jwks.json", idp.serve)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    idp.url = f"http://127.0.0.1:{runner.addresses[0][1]}/jwks.json"
    yield idp
    await runner.cleanup()


@dataclass
class _Signers:
    folder: Path
    clock: ManualClock
    made: int = 0

    def new(self) -> TokenSigner:
        self.made += 1
        path = self.folder / f"{self.made}.json"
        create_signing_key(path, _ISSUER)
        return TokenSigner.from_file(path, clock=self.clock)


def _token(signer: TokenSigner, subject: str = "u") -> str:
    return signer.mint(
        subject=subject,
        scopes=[],
        audience="brikk",
        lifetime=timedelta(hours=1),
        organization="acme",
    )


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def signers(tmp_path: Path, clock: ManualClock) -> _Signers:
    return _Signers(tmp_path, clock)


async def _verifier(idp: _Idp, clock: ManualClock) -> TokenVerifier:
    issuer = IssuerSettings(issuer=_ISSUER, jwks=idp.url, organizations=["*"])
    verifier = TokenVerifier([issuer], audience="brikk", clock=clock)
    await verifier.start()
    return verifier


async def test_a_new_key_is_fetched_but_not_at_every_call(
    idp: _Idp, clock: ManualClock, signers: _Signers
) -> None:
    first, second = signers.new(), signers.new()
    idp.keys += first.jwks()["keys"]
    verifier = await _verifier(idp, clock)
    await verifier.verify(_token(first))
    assert idp.fetches == 1
    idp.keys += second.jwks()["keys"]
    for _ in range(5):
        with pytest.raises(Unauthenticated):
            await verifier.verify(_token(second))
    assert idp.fetches == 1
    clock.advance(timedelta(seconds=10))
    await verifier.verify(_token(second))
    assert idp.fetches == 2
    await verifier.verify(_token(first, "another"))
    assert idp.fetches == 2


async def test_a_withdrawn_key_ends_here_too(
    idp: _Idp, clock: ManualClock, signers: _Signers
) -> None:
    signer = signers.new()
    idp.keys += signer.jwks()["keys"]
    verifier = await _verifier(idp, clock)
    await verifier.verify(_token(signer))
    idp.keys.clear()
    clock.advance(timedelta(minutes=5))
    with pytest.raises(Unauthenticated):
        await verifier.verify(_token(signer))


async def test_an_issuer_out_of_reach_leaves_the_keys_as_they_were(
    idp: _Idp, clock: ManualClock, signers: _Signers
) -> None:
    signer = signers.new()
    idp.keys += signer.jwks()["keys"]
    verifier = await _verifier(idp, clock)
    idp.status = 500
    clock.advance(timedelta(minutes=5))
    with capture_logs() as lines:
        await verifier.verify(_token(signer))
    assert [each["event"] for each in lines] == ["jwks_not_fetched"]


async def test_an_issuer_may_come_up_after_the_service(
    idp: _Idp, clock: ManualClock, signers: _Signers
) -> None:
    idp.status = 503
    verifier = await _verifier(idp, clock)
    signer = signers.new()
    idp.keys += signer.jwks()["keys"]
    idp.status = 200
    clock.advance(timedelta(seconds=10))
    await verifier.verify(_token(signer))

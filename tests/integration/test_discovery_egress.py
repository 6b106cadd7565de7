"""An agent that names an address which must not be called is not registered."""

from __future__ import annotations

from pathlib import Path

import pytest

from brikk_shared.errors import Reason
from brikk_shared.testing import Tokens
from support.discovery import agent, registration, serving
from support.refusals import refused


@pytest.fixture
def tokens(tmp_path: Path) -> Tokens:
    return Tokens(tmp_path)


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "10.0.0.1",
        "127.0.0.1",
        "[::1]",
        "[::ffff:169.254.169.254]",
        "[fe80::1]",
        "0.0.0.0",
        "localhost",
        "127.1",
        "2130706433",
        "169.254.169.254.",
    ],
)
async def test_an_address_that_is_not_public_is_refused(
    sqlite_url: str, tokens: Tokens, host: str
) -> None:
    async with serving(sqlite_url, tokens, egress_allowed=[]) as discovery:
        caller = discovery.caller()
        request = registration("one", agent("a", endpoint=f"{host}:9000"))
        error = await refused(caller.send(request))
        assert (error.code, error.reason) == ("INVALID_ARGUMENT", Reason.ADDRESS_REFUSED)
        assert error.metadata == {"address": host.strip("[]")}
        assert [each.field for each in error.violations] == ["agent.endpoint"]
        assert not (await caller.page()).agents


async def test_allowing_a_network_opens_no_other(sqlite_url: str, tokens: Tokens) -> None:
    async with serving(sqlite_url, tokens, egress_allowed=["10.42.0.0/16"]) as discovery:
        caller = discovery.caller()
        for endpoint in ("169.254.169.254:80", "127.0.0.1:80", "10.43.0.1:80"):
            error = await refused(caller.send(registration("one", agent("a", endpoint=endpoint))))
            assert error.reason == Reason.ADDRESS_REFUSED
        # Names that nobody knows yet are let pass: they are looked up when they are called.
        for endpoint in (
            "10.42.3.4:80",
            "1.1.1.1:80",
            "[2606:4700::1111]:80",
            "nowhere.invalid:80",
        ):
            await caller.send(registration("one", agent("a", endpoint=endpoint)))
            assert (await caller.get("one")).endpoint == endpoint

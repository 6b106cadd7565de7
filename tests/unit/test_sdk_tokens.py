from __future__ import annotations

import json
import time
from datetime import timedelta
from pathlib import Path

import grpc
import jwt
import pytest

from brikk_agent import AgentError
from brikk_agent.tokens import CallTokens
from support.agents import CallKeys

AGENT = "agents/summarizer-1"


class Stopwatch:
    """Seconds that a test moves."""

    def __init__(self) -> None:
        self.seconds = 1_000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def keys(tmp_path: Path) -> CallKeys:
    return CallKeys(tmp_path)


@pytest.fixture
def watch() -> Stopwatch:
    return Stopwatch()


@pytest.fixture
def tokens(keys: CallKeys, watch: Stopwatch) -> CallTokens:
    return CallTokens(str(keys.file), AGENT, monotonic=watch)


def bearing(token: str) -> list[tuple[str, str | bytes]]:
    return [("user-agent", "x"), ("authorization", f"Bearer {token}")]


async def refusal(
    tokens: CallTokens, metadata: list[tuple[str, str | bytes]]
) -> tuple[str, grpc.StatusCode, bool]:
    with pytest.raises(AgentError) as caught:
        await tokens.check(metadata)
    return caught.value.reason, caught.value.code, caught.value.retryable


async def test_a_token_for_this_agent_may_call(tokens: CallTokens, keys: CallKeys) -> None:
    await tokens.check(bearing(keys.token(AGENT)))


@pytest.mark.parametrize(
    "metadata", [[], [("authorization", "Basic eA==")], [("authorization", "Bearer ")]]
)
async def test_no_token_is_refused(
    tokens: CallTokens, metadata: list[tuple[str, str | bytes]]
) -> None:
    assert await refusal(tokens, metadata) == (
        "TOKEN_MISSING",
        grpc.StatusCode.UNAUTHENTICATED,
        False,
    )


async def test_tokens_of_another_kind_are_refused(tokens: CallTokens, keys: CallKeys) -> None:
    claims = {"aud": AGENT, "exp": time.time() + 60, "sub": "services/workflow"}
    kid = keys.signer.jwks()["keys"][0]["kid"]
    public = keys.signer.jwks()["keys"][0]["x"]
    expired = timedelta(minutes=-1)
    for token in (
        "junk",
        "a.b.c",
        keys.token("agents/other-1"),
        keys.token("brikk"),
        keys.token(AGENT, lifetime=expired),
        jwt.encode(claims, "", algorithm="none", headers={"kid": kid}),
        # The public key as an HMAC secret: algorithm confusion.
        jwt.encode(claims, public.ljust(64, "="), algorithm="HS256", headers={"kid": kid}),
    ):
        reason, code, retryable = await refusal(tokens, bearing(token))
        assert (reason, code) == ("TOKEN_INVALID", grpc.StatusCode.UNAUTHENTICATED)
        assert not retryable


async def test_a_token_must_expire(tokens: CallTokens, keys: CallKeys, tmp_path: Path) -> None:
    stored = json.loads((tmp_path / "calls-0.json").read_text())["key"]
    token = jwt.encode(
        {"aud": AGENT}, jwt.PyJWK(stored), algorithm="EdDSA", headers={"kid": stored["kid"]}
    )
    assert (await refusal(tokens, bearing(token)))[0] == "TOKEN_INVALID"


async def test_a_new_key_is_found_when_it_signs(
    tokens: CallTokens, keys: CallKeys, watch: Stopwatch
) -> None:
    old = keys.token(AGENT)
    await tokens.check(bearing(old))
    keys.rotate()
    assert (await refusal(tokens, bearing(keys.token(AGENT))))[2], "it may be asked again"
    watch.seconds += 2
    await tokens.check(bearing(keys.token(AGENT)))
    assert (await refusal(tokens, bearing(old)))[0] == "TOKEN_INVALID"


async def test_a_withdrawn_key_is_forgotten_in_time(
    tokens: CallTokens, keys: CallKeys, watch: Stopwatch
) -> None:
    old = keys.token(AGENT, lifetime=timedelta(hours=1))
    await tokens.check(bearing(old))
    keys.rotate()
    watch.seconds += 300
    assert (await refusal(tokens, bearing(old)))[0] == "TOKEN_INVALID"


async def test_a_token_that_passed_is_not_checked_again_for_a_while(
    tokens: CallTokens, keys: CallKeys, watch: Stopwatch
) -> None:
    token = keys.token(AGENT, lifetime=timedelta(hours=1))
    await tokens.check(bearing(token))
    keys.rotate()
    watch.seconds += 59
    await tokens.check(bearing(token))


async def test_many_different_tokens_do_not_pile_up(tokens: CallTokens, keys: CallKeys) -> None:
    for _ in range(300):
        await tokens.check(bearing(keys.token(AGENT)))


async def test_keys_that_cannot_be_read_yet_are_read_later(
    tokens: CallTokens, keys: CallKeys, watch: Stopwatch
) -> None:
    good = keys.file.read_text()
    for damaged in (None, "{", '{"keys": []}', "[]", "7"):
        if damaged is None:
            keys.file.unlink()
        else:
            keys.file.write_text(damaged)
        watch.seconds += 2
        assert await refusal(tokens, bearing(keys.token(AGENT))) == (
            "KEYS_UNAVAILABLE",
            grpc.StatusCode.UNAVAILABLE,
            True,
        )
    keys.file.write_text(good)
    watch.seconds += 2
    await tokens.check(bearing(keys.token(AGENT)))


async def test_keys_survive_a_reading_that_fails(
    tokens: CallTokens, keys: CallKeys, watch: Stopwatch
) -> None:
    await tokens.check(bearing(keys.token(AGENT)))
    keys.file.unlink()
    watch.seconds += 301
    await tokens.check(bearing(keys.token(AGENT)))

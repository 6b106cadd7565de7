"""Which URLs a webhook may have."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from brikk_webhooks.domain.endpoint import url_problem


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com",
        "https://example.com/",
        "https://example.com:8443/a/b?c=d&e=%20f",
        "http://localhost:8080/hook",
        "http://receiver_1:80/",
        "http://127.0.0.1:1/x",
        "http://[::1]:8080/x",
        "http://[2001:db8::1]/",
        "https://xn--bcher-kva.example/",
        "https://example.com./",
        "https://example.com/?",
        "https://example.com/a@b",
        "http://1.example/",
    ],
)
def test_accepts(url: str) -> None:
    assert url_problem(url) is None


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "ftp://example.com/",
        "file:///etc/passwd",
        "http:/example.com",
        "http://",
        "http:///path",
        "http://:80/",
        "https://user@example.com/",
        "https://user:password@example.com/",
        "https://@example.com/",
        "https://example.com/#part",
        "https://example.com/#",
        "https://example.com:/",
        "https://example.com:0/",
        "https://example.com:65536/",
        "https://example.com:-1/",
        "https://example.com:80a/",
        "https://example.com:000080/",
        "https://exa mple.com/",
        "https://example.com/\n",
        "\thttps://example.com/",
        "https://example.com/\x00",
        "https://example.com\\@evil.example/",
        "https://bücher.example/",
        "https://example.com/ü",
        "https://example.com/%zz",
        "https://example.com/%",
        "https://exa%20mple.com/",
        "https://-example.com/",
        "https://example-.com/",
        "https://example..com/",
        "https://.example.com/",
        f"https://{'a' * 64}.com/",
        f"https://{'a.' * 127}com/",
        "http://256.1.1.1/",
        "http://127.1/",
        "http://2130706433/",
        "http://0x7f.0.0.1/",
        "http://0x7f000001/",
        "http://[::1/",
        "http://[::1]x/",
        "http://[fe80::1%25eth0]/",
        "http://[127.0.0.1]/",
        "http://[v1.a]/",
        "http://::1/",
    ],
)
def test_refuses(url: str) -> None:
    assert url_problem(url) is not None


@given(rest=st.text(alphabet=st.characters(min_codepoint=0, max_codepoint=0x17F), max_size=40))
def test_whatever_is_accepted_can_be_posted_to(rest: str) -> None:
    url = f"https://{rest}"
    if url_problem(url) is None:
        parsed = URL(url, encoded=True)
        assert parsed.host
        assert parsed.user is None
        assert str(parsed) == url

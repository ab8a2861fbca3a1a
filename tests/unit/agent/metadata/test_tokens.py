"""Tokens: only the right instance, only for their time, and no other text is one."""

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stead_agent.metadata import tokens
from stead_agent.metadata.tokens import MAX_SECONDS, lifetime, mint, seconds_left

KEY = bytes(range(32))
ME, OTHER = "i-0123456789abcdef0", "i-0123456789abcdef1"


@settings(deadline=None)
@given(st.integers(1, MAX_SECONDS), st.floats(0, 4e9))
def test_token_is_valid_for_its_time(seconds: int, now: float) -> None:
    token = mint(KEY, ME, seconds, now)
    assert len(token) == 56
    assert seconds_left(KEY, ME, token, now) == seconds
    assert seconds_left(KEY, ME, token, int(now) + seconds - 1) == 1
    assert seconds_left(KEY, ME, token, int(now) + seconds) == 0
    assert seconds_left(KEY, ME, token, now + seconds + 1e6) == 0


def test_tokens_differ_and_are_bound_to_instance_and_key() -> None:
    token = mint(KEY, ME, 60, 1000)
    assert token != mint(KEY, ME, 60, 1000)
    assert seconds_left(KEY, OTHER, token, 1000) == 0
    assert seconds_left(KEY, "", token, 1000) == 0
    assert seconds_left(bytes(32), ME, token, 1000) == 0


def test_token_from_before_the_clock_was_set_back_is_refused() -> None:
    token = mint(KEY, ME, MAX_SECONDS, 1_000_000)
    assert seconds_left(KEY, ME, token, 999_999) == 0


def test_token_of_another_format_is_refused_though_its_seal_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(tokens, "_FORMAT", 2)
        token = mint(KEY, ME, 60, 1000)
        assert seconds_left(KEY, ME, token, 1000) == 60
    assert seconds_left(KEY, ME, token, 1000) == 0


@settings(deadline=None)
@given(st.text() | st.text(alphabet="AQz09-_=+/", min_size=56, max_size=56))
def test_other_texts_are_no_tokens(text: str) -> None:
    assert seconds_left(KEY, ME, text, 1000) == 0


@settings(deadline=None)
@given(st.integers(0, 55), st.integers(1, 255))
def test_changed_token_is_none(place: int, change: int) -> None:
    token = mint(KEY, ME, 60, 1000)
    raw = bytearray(base64.urlsafe_b64decode(token))
    raw[place % len(raw)] ^= change
    assert seconds_left(KEY, ME, base64.urlsafe_b64encode(raw).decode(), 1000) == 0


@pytest.mark.parametrize(("text", "seconds"), [("1", 1), ("21600", 21600), ("00060", 60), ("60", 60)])
def test_lifetimes(text: str, seconds: int) -> None:
    assert lifetime(text) == seconds


@pytest.mark.parametrize(
    "text", [None, "", "0", "21601", "-1", "+1", "1.5", "1e3", " 60", "60, 60", "99999999999999", "٣", "²"]
)
def test_lifetimes_that_are_refused(text: str | None) -> None:
    assert lifetime(text) is None

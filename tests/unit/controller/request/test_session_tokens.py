"""Tokens come back whole, belong to one key, and cannot be made or changed by others."""

import base64
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead_controller.request import session_tokens
from stead_controller.request.caller import Origin
from stead_controller.request.session_tokens import Facts
from stead_controller.secrets.sealing import Sealer, no_sealer

NOW = datetime(2026, 3, 4, 5, 6, 7, 89_000, tzinfo=UTC)
SEALER = Sealer(bytes(range(32)))
FACTS = Facts("role", "123456789012", "AROAEXAMPLE", "web", NOW, NOW + timedelta(hours=1))

texts = st.text(max_size=20)
accounts = st.integers(0, 10**12 - 1).map(lambda number: f"{number:012}")
facts = st.builds(
    Facts,
    kind=st.sampled_from(["root", "user", "role", "federated"]),
    account_id=accounts,
    principal_id=texts,
    name=texts,
    issued=st.just(NOW),
    expires=st.integers(0, 10**9).map(lambda seconds: NOW + timedelta(seconds=seconds)),
    policy=texts,
    policy_arns=st.lists(texts, max_size=3).map(tuple),
    tags=st.lists(st.tuples(texts, texts), max_size=3).map(tuple),
    transitive=st.lists(texts, max_size=3).map(tuple),
    source_identity=texts,
    mfa=st.booleans(),
    origin=st.none() | st.builds(Origin, texts, texts, texts, st.sampled_from(["1.0", "2.0"])),
)


@given(facts)
def test_a_token_says_what_went_in(given: Facts) -> None:
    made = session_tokens.mint(SEALER, given)
    opened = session_tokens.open_token(SEALER, made.access_key_id, made.session_token)
    assert opened is not None
    assert (opened.facts, opened.secret) == (given, made.secret_access_key)


@given(accounts)
def test_an_access_key_says_whose_it_is(account_id: str) -> None:
    key_id = session_tokens.mint(SEALER, Facts("user", account_id, "", "", NOW, NOW)).access_key_id
    assert (len(key_id), key_id[:4]) == (20, "ASIA")
    assert session_tokens.account_of(key_id) == account_id


@pytest.mark.parametrize(
    "key_id", ["", "ASIA", "AKIAQAAAAAAAAAAAAAAA", "ASIAAAAAAAAAAAAAAAAA", "ASIA1111111111111111", "ASIA" + "7" * 16]
)
def test_other_ids_say_nothing(key_id: str) -> None:
    assert session_tokens.account_of(key_id) is None


def test_a_token_belongs_to_one_key_and_one_cloud() -> None:
    one, two = session_tokens.mint(SEALER, FACTS), session_tokens.mint(SEALER, FACTS)
    assert one.access_key_id != two.access_key_id
    assert session_tokens.open_token(SEALER, two.access_key_id, one.session_token) is None
    assert session_tokens.open_token(no_sealer(), one.access_key_id, one.session_token) is None


@given(st.integers(0), st.integers(1, 255))
def test_a_changed_token_is_none(place: int, change: int) -> None:
    made = session_tokens.mint(SEALER, FACTS)
    raw = bytearray(base64.b64decode(made.session_token))
    raw[place % len(raw)] ^= change
    assert session_tokens.open_token(SEALER, made.access_key_id, base64.b64encode(raw).decode()) is None


@given(st.text(max_size=60))
def test_what_is_no_token_is_none(text: str) -> None:
    assert session_tokens.open_token(SEALER, "ASIAQAAAAAAAAAAAAAAA", text) is None


def test_secrets_are_not_shown() -> None:
    made = session_tokens.mint(SEALER, FACTS)
    opened = session_tokens.open_token(SEALER, made.access_key_id, made.session_token)
    assert made.secret_access_key not in repr(made) + repr(opened)
    assert made.session_token not in repr(made)
    plain = base64.b64decode(made.session_token)
    assert made.secret_access_key.encode() not in plain

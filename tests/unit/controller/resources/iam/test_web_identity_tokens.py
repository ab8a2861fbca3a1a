"""Tokens of issuers: which are believed, and that no other is."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from stead_controller.errors import BadRequest
from stead_controller.resources.iam import web_identity_tokens
from tests.support.web_identity import Issuer, encoded, number

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
ISSUER = Issuer()
STRANGER = Issuer()
TOKEN = ISSUER.token(NOW)


def code(token: str, keys: list[dict[str, Any]] | None = None, now: datetime = NOW) -> str:
    """The code of a refusal, or nothing."""
    try:
        web_identity_tokens.claims_of(token, ISSUER.keys if keys is None else keys, now)
    except BadRequest as refusal:
        return refusal.code or ""
    return ""


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
def test_what_the_issuer_signed_is_believed(algorithm: str) -> None:
    claims = web_identity_tokens.claims_of(ISSUER.token(NOW, algorithm, email="a@b.c"), ISSUER.keys, NOW)
    assert (claims["sub"], claims["email"]) == ("job-7", "a@b.c")


@pytest.mark.parametrize(
    ("token", "keys", "now", "expected"),
    [
        (STRANGER.token(NOW), None, NOW, "InvalidIdentityToken"),
        (STRANGER.token(NOW, "ES256"), None, NOW, "InvalidIdentityToken"),
        (TOKEN, [], NOW, "InvalidIdentityToken"),
        (TOKEN, [{**ISSUER.keys[0], "use": "enc"}], NOW, "InvalidIdentityToken"),
        (TOKEN, [{**ISSUER.keys[0], "kid": "old"}], NOW, "InvalidIdentityToken"),
        (TOKEN, [{**ISSUER.keys[0], "alg": "RS512"}], NOW, "InvalidIdentityToken"),
        (TOKEN, [{"kty": "RSA", "n": 7, "e": None}], NOW, "InvalidIdentityToken"),
        (ISSUER.token(NOW, "none"), None, NOW, "InvalidIdentityToken"),
        (ISSUER.token(NOW, "HS256"), None, NOW, "InvalidIdentityToken"),
        (TOKEN, None, NOW + timedelta(hours=1), "ExpiredTokenException"),
        (ISSUER.token(NOW, exp=None), None, NOW, "InvalidIdentityToken"),
        (ISSUER.token(NOW, exp="later"), None, NOW, "InvalidIdentityToken"),
        (ISSUER.token(NOW, sub=None), None, NOW, "InvalidIdentityToken"),
        (ISSUER.token(NOW, nbf=NOW.timestamp() + 900), None, NOW, "InvalidIdentityToken"),
        ("a.b", None, NOW, "InvalidIdentityToken"),
        ("a.b.c", None, NOW, "InvalidIdentityToken"),
        (f"{encoded(b'[]')}.{encoded(b'[]')}.", None, NOW, "InvalidIdentityToken"),
        pytest.param(f"{encoded(b'[' * 14_000)}.e30.", None, NOW, "InvalidIdentityToken", id="nested deeply"),
        (TOKEN, None, NOW + timedelta(minutes=59), ""),
    ],
)
def test_the_table(token: str, keys: list[dict[str, Any]] | None, now: datetime, expected: str) -> None:
    assert code(token, keys, now) == expected


def test_a_short_key_proves_nothing() -> None:
    short = Issuer(rsa_key=rsa.generate_private_key(65537, 1024))
    assert code(short.token(NOW), short.keys) == "InvalidIdentityToken"


def test_an_algorithm_needs_its_own_curve() -> None:
    other = Issuer(ec_key=ec.generate_private_key(ec.SECP384R1()))
    keys = [{**other.keys[1], "crv": "P-384"}]
    assert code(ISSUER.token(NOW, "ES256"), keys) == "InvalidIdentityToken"
    assert code(ISSUER.token(NOW, "ES384"), [ISSUER.keys[1]]) == "InvalidIdentityToken"


def test_a_key_set_with_a_private_key_is_read_as_its_public_half() -> None:
    numbers = ISSUER.rsa_key.private_numbers()
    assert code(TOKEN, [{**ISSUER.keys[0], "d": number(numbers.d)}]) == ""


@given(st.integers(0, len(TOKEN) - 1), st.sampled_from("ABCabc019-_."))
def test_a_changed_token_is_not_believed(place: int, character: str) -> None:
    changed = TOKEN[:place] + character + TOKEN[place + 1 :]
    # The last character of a part may have bits that mean nothing.
    if changed != TOKEN and not all(
        _bytes(one) == _bytes(other) for one, other in zip(TOKEN.split("."), changed.split("."), strict=False)
    ):
        assert code(changed) == "InvalidIdentityToken"


def _bytes(piece: str) -> bytes | None:
    try:
        return web_identity_tokens._decoded(piece)
    except ValueError:
        return None


@given(st.text(max_size=60))
def test_no_text_is_a_fault_of_ours(text: str) -> None:
    assert code(text) == "InvalidIdentityToken"


def test_audiences_are_one_or_several() -> None:
    assert web_identity_tokens.audiences_of({"aud": "a"}) == ["a"]
    assert web_identity_tokens.audiences_of({"aud": ["a", 7, "b"]}) == ["a", "b"]
    assert web_identity_tokens.audiences_of(json.loads("{}")) == []

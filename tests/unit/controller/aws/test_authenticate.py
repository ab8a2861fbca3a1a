"""Who is let in, and that an unknown key costs what a known one costs."""

import sys
from dataclasses import replace
from datetime import timedelta
from types import FrameType
from typing import Any
from unittest.mock import patch

import pytest

from stead_controller.aws.authenticate import Credential, authenticate, by_opened_keys
from stead_controller.aws.protocol.message import Request
from stead_controller.aws.signature import Reason, Refused, is_signed_with, read_claim
from stead_controller.request.caller import Caller
from stead_controller.resources.iam.accounts import OpenedKey
from tests.unit.controller.aws.test_signature import KEY, NOW, SECRET, sign

CALLER = Caller("123456789012", "arn:aws:iam::123456789012:root", "123456789012", KEY)
KNOWN = Credential(KEY, SECRET, CALLER)


async def outcome(request: Request, credential: Credential | None) -> Caller | Reason:
    async def find(access_key_id: str, session_token: str | None) -> Credential | None:
        assert access_key_id == KEY
        assert session_token == read_claim(request).session_token
        return credential

    try:
        return await authenticate(request, read_claim(request), find, NOW)
    except Refused as refused:
        return refused.reason


@pytest.mark.parametrize(
    ("token", "changes", "expected"),
    [
        (None, {}, CALLER),
        (None, {"secret": "other"}, Reason.MISMATCH),
        (None, {"active": False}, Reason.UNKNOWN_KEY),
        ("t", {}, Reason.UNKNOWN_KEY),
        (None, {"session_token": "t"}, Reason.UNKNOWN_KEY),
        ("u", {"session_token": "t"}, Reason.UNKNOWN_KEY),
        ("t", {"session_token": "t"}, CALLER),
        ("t", {"session_token": "t", "expires": NOW + timedelta(seconds=1)}, CALLER),
        ("t", {"session_token": "t", "expires": NOW}, Reason.TOKEN_EXPIRED),
        ("t", {"session_token": "t", "expires": NOW, "secret": "other"}, Reason.MISMATCH),
    ],
)
async def test_outcomes(token: str | None, changes: dict[str, Any], expected: Caller | Reason) -> None:
    assert await outcome(sign(token=token), replace(KNOWN, **changes)) == expected


async def test_unknown_keys_are_computed_for_like_known_ones() -> None:
    with patch("stead_controller.aws.authenticate.is_signed_with", wraps=is_signed_with) as computed:
        assert await outcome(sign(), None) is Reason.UNKNOWN_KEY
        assert await outcome(sign(), KNOWN) == CALLER
    assert computed.call_count == 2


def steps_of(found: OpenedKey | None, request: Request) -> int:
    """How many instructions of the interpreter it takes to refuse a request whose key is this one, or none."""

    async def find(access_key_id: str, session_token: str | None) -> OpenedKey | None:
        del access_key_id, session_token
        return found

    steps = 0

    def trace(frame: FrameType, event: str, arg: object) -> Any:
        nonlocal steps
        del arg
        frame.f_trace_opcodes = True
        steps += event == "opcode"
        return trace

    claim = read_claim(request)
    asked = authenticate(request, claim, by_opened_keys(find), NOW)
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        asked.send(None)
    except Refused:
        return steps
    finally:
        sys.settrace(before)
    raise AssertionError("it was let in, or waits for something")


@pytest.mark.parametrize("active", [True, False])
def test_unknown_keys_take_as_many_steps_as_known_ones(active: bool) -> None:
    """Not what a clock tells on one machine: the instructions themselves, of some 3,800 that a refusal takes in all."""
    request = sign()
    wrong = OpenedKey("another secret", CALLER, active=active)
    for _ in range(2):  # what is remembered is remembered by the second time
        known, unknown = steps_of(wrong, sign()), steps_of(None, sign())
    assert steps_of(None, request) == unknown > 500
    assert abs(known - unknown) <= 8


async def test_keys_are_not_looked_up_for_expired_requests() -> None:
    async def find(access_key_id: str, session_token: str | None) -> Credential | None:
        raise AssertionError(access_key_id, session_token)

    request = sign(at=NOW - timedelta(hours=1))
    with pytest.raises(Refused):
        await authenticate(request, read_claim(request), find, NOW)


def test_secrets_are_not_shown() -> None:
    assert SECRET not in repr(replace(KNOWN, session_token="a token"))
    assert "a token" not in repr(replace(KNOWN, session_token="a token"))

"""One-time passwords by the clock: RFC 6238 over HMAC-SHA-1, six digits, a new one each 30 seconds. Pure.

That is what virtual MFA devices of AWS are
(https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_mfa_enable_virtual.html). A *step* is a number of 30
seconds since 1970; a device whose clock is wrong is some steps ahead or behind, which is its *drift*.
"""

import hmac
import struct
from collections.abc import Iterable
from datetime import datetime
from typing import Final

STEP_SECONDS: Final = 30
DIGITS: Final = 6
SEED_BYTES: Final = 40  # 64 characters of base32 without padding

# A code is good for its own step and the ones beside it: people type slowly (RFC 6238, 5.2).
_NEAR: Final = 1
# How far a device's clock may be off when two codes in a row show it (RFC 6238, 6).
_FAR: Final = 120


def step_of(now: datetime) -> int:
    """Give the step that a time lies in."""
    return int(now.timestamp()) // STEP_SECONDS


def code_of(seed: bytes, step: int) -> str:
    """Give the digits that a device shows during a step (RFC 4226, 5.3)."""
    digest = hmac.digest(seed, struct.pack(">Q", step), "sha1")
    offset = digest[-1] & 0xF
    number = struct.unpack_from(">I", digest, offset)[0] & 0x7FFF_FFFF
    return f"{number % 10**DIGITS:0{DIGITS}}"


def find_step(seed: bytes, code: str, around: int) -> int | None:
    """Give the step whose code it is, of the ones near a step, the latest of them; None when it is none of theirs."""
    return _find(seed, (code,), range(around + _NEAR, around - _NEAR - 1, -1))


def find_steps_in_a_row(seed: bytes, first: str, second: str, around: int) -> int | None:
    """Give the step of the second of two codes in a row, however wrong the clock; None when they are none."""
    steps = sorted(range(around - _FAR, around + _FAR + 1), key=lambda step: abs(step - around))
    found = _find(seed, (first, second), steps)
    return None if found is None else found + 1


def _find(seed: bytes, codes: tuple[str, ...], steps: Iterable[int]) -> int | None:
    """Give the first of the steps from which on these codes are shown."""
    wanted = "".join(codes).encode("utf-8", "replace")
    for step in steps:
        if step < 0:
            continue
        shown = "".join(code_of(seed, step + place) for place in range(len(codes)))
        if hmac.compare_digest(shown.encode(), wanted):
            return step
    return None

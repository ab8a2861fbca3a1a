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

# A code is valid for its own step and the adjacent ones: people type slowly (RFC 6238, 5.2).
_NEAR: Final = 1
# The maximum drift of a device's clock when two consecutive codes prove it (RFC 6238, 6).
_FAR: Final = 120


def step_of(now: datetime) -> int:
    """Return the step of a time."""
    return int(now.timestamp()) // STEP_SECONDS


def code_of(seed: bytes, step: int) -> str:
    """Return the code that a device shows during a step (RFC 4226, 5.3)."""
    digest = hmac.digest(seed, struct.pack(">Q", step), "sha1")
    offset = digest[-1] & 0xF
    number = struct.unpack_from(">I", digest, offset)[0] & 0x7FFF_FFFF
    return f"{number % 10**DIGITS:0{DIGITS}}"


def find_step(seed: bytes, code: str, around: int) -> int | None:
    """Return the latest step near a step that has this code; None if there is none."""
    return _find(seed, (code,), range(around + _NEAR, around - _NEAR - 1, -1))


def find_steps_in_a_row(seed: bytes, first: str, second: str, around: int) -> int | None:
    """Return the step of the second of two consecutive codes, also with a large drift; None when they are wrong."""
    steps = sorted(range(around - _FAR, around + _FAR + 1), key=lambda step: abs(step - around))
    found = _find(seed, (first, second), steps)
    return None if found is None else found + 1


def _find(seed: bytes, codes: tuple[str, ...], steps: Iterable[int]) -> int | None:
    """Return the first of the steps from which on these codes are shown."""
    wanted = "".join(codes).encode("utf-8", "replace")
    for step in steps:
        if step < 0:
            continue
        shown = "".join(code_of(seed, step + place) for place in range(len(codes)))
        if hmac.compare_digest(shown.encode(), wanted):
            return step
    return None

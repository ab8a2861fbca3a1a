"""Session tokens of IMDSv2: an instance id and a lifetime become 56 characters, and back to the seconds left.

A token is its expiry, authenticated for one instance with the host's key. Nothing is stored per token, so tokens
survive the agent's restart and a guest that requests millions costs no memory. Another instance's token does not match.
"""

import base64
import binascii
import hmac
import secrets
from typing import Final

MIN_SECONDS: Final = 1
MAX_SECONDS: Final = 21600  # six hours: EC2's maximum
KEY_BYTES: Final = 32

_FORMAT: Final = 1
_EXPIRY_BYTES: Final = 5
_NONCE_BYTES: Final = 8  # so that two tokens of one second differ
_SEAL_BYTES: Final = 28  # of HMAC-SHA256
_BODY_BYTES: Final = 1 + _EXPIRY_BYTES + _NONCE_BYTES
_TEXT_LENGTH: Final = (_BODY_BYTES + _SEAL_BYTES) * 4 // 3  # without padding, so each token has only one spelling


def lifetime(text: str | None) -> int | None:
    """Parse the lifetime a client requests; None unless it is a plain number of seconds that EC2 would accept."""
    if text is None or not text.isascii() or not text.isdecimal() or len(text) > 5:
        return None
    seconds = int(text)
    return seconds if MIN_SECONDS <= seconds <= MAX_SECONDS else None


def mint(key: bytes, instance_id: str, seconds: int, now: float) -> str:
    """Create a token for an instance that is valid for `seconds` from `now` (Unix seconds)."""
    expiry = int(now) + seconds
    body = bytes([_FORMAT]) + expiry.to_bytes(_EXPIRY_BYTES) + secrets.token_bytes(_NONCE_BYTES)
    return base64.urlsafe_b64encode(body + _seal(key, instance_id, body)).decode()


def seconds_left(key: bytes, instance_id: str, token: str, now: float) -> int:
    """Return how long a token of this instance is still valid; 0 = expired, invalid, or of another instance.

    A token with more than the maximum lifetime left is refused: the clock was set back after it was made.
    """
    if len(token) != _TEXT_LENGTH:
        return 0
    try:
        raw = base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error):
        return 0
    body, seal = raw[:_BODY_BYTES], raw[_BODY_BYTES:]
    if not hmac.compare_digest(seal, _seal(key, instance_id, body)) or body[0] != _FORMAT:
        return 0
    left = int.from_bytes(body[1 : 1 + _EXPIRY_BYTES]) - int(now)
    return left if 0 < left <= MAX_SECONDS else 0


def _seal(key: bytes, instance_id: str, body: bytes) -> bytes:
    """Return the MAC of a token's body for an instance; the body has a fixed length, so the id cannot run into it."""
    return hmac.digest(key, body + instance_id.encode(), "sha256")[:_SEAL_BYTES]

"""Tokens of blocks and pages: their sealed content, with an expiration time."""

import binascii
import hmac
from base64 import b64decode, b64encode
from datetime import UTC, datetime, timedelta
from typing import Final

from stead_controller.errors import InvalidParameter

LIFETIME: Final = timedelta(days=7)
_MAC_BYTES: Final = 16
_TIME_BYTES: Final = 8


def seal(key: bytes, purpose: str, content: bytes, expires: datetime) -> str:
    """Make a token of some bytes, valid for one purpose, such as a block of one snapshot."""
    text = int(expires.timestamp()).to_bytes(_TIME_BYTES, "big") + content
    return b64encode(_mac(key, purpose, text) + text).decode()


def open_token(key: bytes, purpose: str, token: str, now: datetime) -> bytes:
    """Return a token's content; raises InvalidParameter if it is for another purpose or has expired."""
    try:
        sealed = b64decode(token.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        sealed = b""
    mac, text = sealed[:_MAC_BYTES], sealed[_MAC_BYTES:]
    if len(text) < _TIME_BYTES or not hmac.compare_digest(mac, _mac(key, purpose, text)):
        raise InvalidParameter("The token is not valid.")
    if datetime.fromtimestamp(int.from_bytes(text[:_TIME_BYTES], "big"), UTC) < now:
        raise InvalidParameter("The token has expired.")
    return text[_TIME_BYTES:]


def _mac(key: bytes, purpose: str, text: bytes) -> bytes:
    return hmac.digest(key, purpose.encode() + b"\0" + text, "sha256")[:_MAC_BYTES]

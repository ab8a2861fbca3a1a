"""Digests by which one side says which message it has, so that the other need not send it again."""

import hashlib

from google.protobuf.message import Message


def digest_of(message: Message) -> bytes:
    """Return the SHA-256 of a message; another release's may be another one, which only costs that it is sent again."""
    return hashlib.sha256(message.SerializeToString(deterministic=True)).digest()

"""Decodes `A=1&B.1=x%20y` to name/value pairs; refuses malformed input."""

import re
from typing import Final
from urllib.parse import unquote_to_bytes

from stead_controller.errors import BadRequest

MAX_FIELDS: Final = 10_000
_BAD_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")


def decode_form(text: str) -> list[tuple[str, str]]:
    """Decode a query string or a form body.

    Raises BadRequest for too many fields, a broken percent escape or bytes that are not UTF-8.
    """
    if not text:
        return []
    pieces = text.split("&", MAX_FIELDS)
    if len(pieces) > MAX_FIELDS:
        raise BadRequest(f"A request may have at most {MAX_FIELDS} parameters", code="MalformedQueryString")
    fields = []
    for piece in pieces:
        if piece:
            name, _, value = piece.partition("=")
            fields.append((decode(name.replace("+", " ")), decode(value.replace("+", " "))))
    return fields


def decode(text: str) -> str:
    """Decode percent escapes of UTF-8; raises BadRequest if they are invalid."""
    if "%" not in text:
        return text
    if _BAD_ESCAPE.search(text):
        raise BadRequest("The query string has a malformed percent escape", code="MalformedQueryString")
    try:
        return unquote_to_bytes(text).decode("utf-8")
    except UnicodeDecodeError:
        raise BadRequest("The query string is not UTF-8", code="MalformedQueryString") from None

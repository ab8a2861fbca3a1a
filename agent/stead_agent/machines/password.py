"""Finds the encrypted password of a Windows guest in what it wrote to its serial port. Pure.

EC2Launch and EC2Config write it once, at the first boot, in base64 between `<Password>` and `</Password>`, perhaps on
several lines, each of which may begin with a time. See
https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_GetPasswordData.html.
"""

import re
from base64 import b64decode
from typing import Final

LONGEST: Final = 2048  # characters: a key of 8192 bits gives 1,368
_ELEMENT: Final = re.compile(rb"<Password>((?:(?!<Password>).){1,4096}?)</Password>", re.DOTALL)


def find(console: bytes) -> bytes:
    """Return the latest password, base64 without line breaks; empty if there is none, or it is not base64."""
    for found in reversed(_ELEMENT.findall(console)):
        words = [line.split()[-1] for line in found.splitlines() if line.strip()]
        text = b"".join(words)
        if text and len(text) <= LONGEST and _is_base64(text):
            return text
    return b""


def _is_base64(text: bytes) -> bool:
    try:
        return bool(b64decode(text, validate=True))
    except ValueError:
        return False

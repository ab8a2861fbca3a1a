"""The positions of statements in a policy's text: pure."""

import json
import re
from dataclasses import dataclass
from typing import Final

_SPACE: Final = re.compile(r"[ \t\r\n]*")
_DECODER: Final = json.JSONDecoder()


@dataclass(frozen=True, slots=True)
class Position:
    """A position in a text; both numbers count from 1, as in IAM's policy simulator."""

    line: int
    column: int


def statement_positions(text: str) -> list[tuple[Position, Position]]:
    """Return the first and the last character of each statement of a policy that `policy_document.parse` accepts."""
    at = _skip(text, _skip(text, 0) + 1)
    while text[at] != "}":
        key, at = _DECODER.raw_decode(text, at)
        at = _skip(text, _skip(text, at) + 1)  # the colon
        if key == "Statement":
            return [(_position(text, first), _position(text, last - 1)) for first, last in _elements(text, at)]
        _, at = _DECODER.raw_decode(text, at)
        at = _skip(text, at)
        if text[at] == ",":
            at = _skip(text, at + 1)
    return []


def _elements(text: str, at: int) -> list[tuple[int, int]]:
    """The begin and end of each element of the list that begins here; of the value itself if it is not a list."""
    if text[at] != "[":
        return [(at, _DECODER.raw_decode(text, at)[1])]
    found = []
    at = _skip(text, at + 1)
    while text[at] != "]":
        _, end = _DECODER.raw_decode(text, at)
        found.append((at, end))
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)
    return found


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    assert found is not None
    return found.end()


def _position(text: str, at: int) -> Position:
    return Position(text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at))

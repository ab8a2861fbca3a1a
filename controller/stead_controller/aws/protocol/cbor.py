"""CBOR to Python values and back, as far as the protocol smithy-rpc-v2-cbor uses it (RFC 8949).

Maps have texts as keys; a time (tag 1) is read as its number of seconds since 1970, other tags are refused.
"""

import math
import struct
from dataclasses import dataclass
from typing import Any, Final

_DEEPEST: Final = 32
_INDEFINITE: Final = 31
_TIME: Final = 1
_BREAK: Final = object()


class NotCborError(ValueError):
    """The bytes are not a CBOR document of the kinds that the protocol has."""


@dataclass(frozen=True, slots=True)
class Time:
    """A time to write: seconds since 1970."""

    seconds: float


def decode(content: bytes) -> Any:
    """Read one value, which must be the whole content; raises NotCborError."""
    reader = _Reader(content)
    try:
        value = reader.value(0)
    except (struct.error, IndexError, UnicodeDecodeError):
        raise NotCborError("it ends too early, or a text is not UTF-8") from None
    if value is _BREAK or reader.at != len(content):
        raise NotCborError("it has more than one value")
    return value


class _Reader:
    """Reads values one after the other; `at` is the position of the next one."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.at = 0

    def value(self, depth: int) -> Any:
        """Read the next value, or the end of one of indefinite length."""
        if depth > _DEEPEST:
            raise NotCborError("it is nested too deeply")
        first = self._content[self.at]
        self.at += 1
        major, low = first >> 5, first & 31
        if major == 7:
            return self._simple(low)
        if low == _INDEFINITE:
            return self._indefinite(major, depth)
        number = self._argument(low)
        match major:
            case 0:
                return number
            case 1:
                return -1 - number
            case 2:
                return self._take(number)
            case 3:
                return self._take(number).decode("utf-8")
            case 4:
                return [self._item(depth) for _ in range(self._bounded(number))]
            case 5:
                return {self._key(depth): self._item(depth) for _ in range(self._bounded(number))}
        if number != _TIME:
            raise NotCborError(f"the tag {number}")
        seconds = self._item(depth)
        if isinstance(seconds, bool) or not isinstance(seconds, int | float):
            raise NotCborError("a time that is no number")
        return seconds

    def _item(self, depth: int) -> Any:
        value = self.value(depth + 1)
        if value is _BREAK:
            raise NotCborError("a break outside of a value of indefinite length")
        return value

    def _key(self, depth: int) -> str:
        key = self._item(depth)
        if not isinstance(key, str):
            raise NotCborError("a key that is no text")
        return key

    def _indefinite(self, major: int, depth: int) -> Any:
        found: list[Any] = []
        while (value := self.value(depth + 1)) is not _BREAK:
            found.append(value)
        if major == 4:
            return found
        if major == 5 and len(found) % 2 == 0 and all(isinstance(key, str) for key in found[::2]):
            return dict(zip(found[::2], found[1::2], strict=True))
        if major == 2 and all(isinstance(piece, bytes) for piece in found):
            return b"".join(found)
        if major == 3 and all(isinstance(piece, str) for piece in found):
            return "".join(found)
        raise NotCborError("a value of indefinite length that is none")

    def _simple(self, low: int) -> Any:
        match low:
            case 20 | 21:
                return low == 21
            case 22 | 23:
                return None
            case 25 | 26 | 27:
                size = 2 << (low - 25)
                return struct.unpack(">" + "efd"[low - 25], self._take(size))[0]
            case 31:
                return _BREAK
        raise NotCborError(f"the simple value {low}")

    def _argument(self, low: int) -> int:
        if low < 24:
            return low
        if low > 27:
            raise NotCborError("a length that is reserved")
        return int.from_bytes(self._take(1 << (low - 24)))

    def _bounded(self, count: int) -> int:
        if count > len(self._content) - self.at:  # each element takes a byte at least
            raise NotCborError("it ends too early")
        return count

    def _take(self, size: int) -> bytes:
        if size > len(self._content) - self.at:
            raise NotCborError("it ends too early")
        self.at += size
        return self._content[self.at - size : self.at]


def encode(value: Any) -> bytes:
    """Write a value: None, bool, int of 64 bits, float, str, bytes, Time, list, dict with texts as keys.

    Raises TypeError for anything else.
    """
    written = bytearray()
    _write(value, written)
    return bytes(written)


def _write(value: Any, written: bytearray) -> None:
    if value is None:
        written.append(0xF6)
    elif value is True or value is False:
        written.append(0xF5 if value else 0xF4)
    elif isinstance(value, int):
        if value >= 0:
            _head(0, value, written)
        else:
            _head(1, -1 - value, written)
    elif isinstance(value, float):
        written.append(0xFB)
        written += struct.pack(">d", value)
    elif isinstance(value, str):
        content = value.encode("utf-8")
        _head(3, len(content), written)
        written += content
    elif isinstance(value, bytes):
        _head(2, len(value), written)
        written += value
    elif isinstance(value, Time):
        _head(6, _TIME, written)
        _write(int(value.seconds) if math.floor(value.seconds) == value.seconds else value.seconds, written)
    elif isinstance(value, list):
        _head(4, len(value), written)
        for one in value:
            _write(one, written)
    elif isinstance(value, dict):
        _head(5, len(value), written)
        for key, one in value.items():
            _write(key, written)
            _write(one, written)
    else:
        raise TypeError(f"CBOR has no {type(value).__name__}")


def _head(major: int, number: int, written: bytearray) -> None:
    if number < 24:
        written.append(major << 5 | number)
        return
    exponent = 0 if number < 1 << 8 else 1 if number < 1 << 16 else 2 if number < 1 << 32 else 3
    written.append(major << 5 | (24 + exponent))
    written += number.to_bytes(1 << exponent)

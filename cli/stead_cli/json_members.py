"""Reads the members of large JSON objects one after another, so that a file needs no more memory than one member."""

import json
from collections.abc import Iterator
from typing import Any, Final, TextIO

_CHUNK: Final = 1 << 20
_MOST: Final = 1 << 22
_SPACE: Final = " \t\r\n"
_OF_NUMBER: Final = 2  # characters such as `e+` that are of a number only if digits follow


class BadJsonError(ValueError):
    """A text that is no JSON, or not of the expected shape; says where."""


class JsonMembers:
    """A text that is read from its begin to its end: objects key by key, other values whole."""

    def __init__(self, file: TextIO) -> None:
        """Begin to read a text."""
        self._file = file
        self._text = ""
        self._at = 0  # in `_text`
        self._before = 0  # characters of the file before `_text`
        self._ended = False
        self._decoder = json.JSONDecoder()

    def members(self) -> Iterator[str]:
        """Yield the keys of the object that comes next; each one's value must be read before the next key.

        Raises BadJsonError for what is no object, or ends too early.
        """
        self._expect("{")
        if self._next() == "}":
            self._at += 1
            return
        while True:
            key = self.value()
            if not isinstance(key, str):
                raise self._error("a name is expected")
            self._expect(":")
            yield key
            if self._next() == "}":
                self._at += 1
                return
            self._expect(",")

    def value(self) -> Any:
        """Read the value that comes next, whole; raises BadJsonError for none, or one of more than 4 MiB."""
        self._next()
        while True:
            try:
                found, end = self._decoder.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if not self._more():
                    raise self._error("this is no JSON") from error
                continue
            if len(self._text) - end <= _OF_NUMBER and not self._ended:
                self._more()  # a number may go on
                continue
            self._at = end
            return found

    def skip(self) -> None:
        """Read over the value that comes next; it may be an object of any size."""
        if self._next() != "{":
            self.value()
            return
        for _ in self.members():
            self.value()

    def require_end(self) -> None:
        """Raise BadJsonError if anything but white space follows."""
        if self._skip_space():
            raise self._error("the end is expected")

    def _expect(self, wanted: str) -> None:
        if self._next() != wanted:
            raise self._error(f"{wanted} is expected")
        self._at += 1

    def _next(self) -> str:
        """Return the next character that is no white space, and stay before it."""
        if not self._skip_space():
            raise self._error("the text ends too early")
        return self._text[self._at]

    def _skip_space(self) -> bool:
        """Go to the next character that is no white space; tell whether there is one."""
        while True:
            while self._at < len(self._text):
                if self._text[self._at] not in _SPACE:
                    return True
                self._at += 1
            if not self._more():
                return False

    def _more(self) -> bool:
        """Read on; drop what was read before. Tells whether there was more."""
        if len(self._text) - self._at > _MOST:
            raise self._error("there is no value of at most 4 MiB")
        read = self._file.read(_CHUNK)
        self._before += self._at
        self._text, self._at, self._ended = self._text[self._at :] + read, 0, not read
        return bool(read)

    def _error(self, words: str) -> BadJsonError:
        return BadJsonError(f"{words} at character {self._before + self._at + 1}")

"""Compile a policy's strings, with wildcards and policy variables, into patterns: pure.

`*` stands for any characters and `?` for exactly one; `${key}`, `${key, 'default'}`, `${*}`, `${?}` and `${$}` are
policy variables (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html). Policies come
from tenants, so matching never backtracks: its time is at most the product of both lengths.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

Context = Mapping[str, tuple[str, ...]]  # values by condition key; the keys are in lower case


class Wild(Enum):
    """A wildcard."""

    MANY = "*"
    ONE = "?"


@dataclass(frozen=True, slots=True)
class Variable:
    """A policy variable: the key in lower case and as written, and the default where there is no value."""

    key: str
    default: str | None = None
    exact: str = field(default="", compare=False)


Piece = str | Wild | Variable

_LONGEST: Final = 1024  # characters between the braces of a variable
_ESCAPED: Final = frozenset("*?$")


class Glob:
    """A string with wildcards, split at each `*` into parts that must occur in order."""

    __slots__ = ("_parts", "_whole")

    def __init__(self, pieces: Sequence[str | Wild]) -> None:
        """Take the pieces; a str is literal text."""
        parts: list[list[str | Wild]] = [[]]
        for piece in pieces:
            if piece is Wild.MANY:
                parts.append([])
            else:
                parts[-1].append(piece)
        self._parts = tuple(_part(part) for part in parts)
        self._whole = len(parts) == 1

    def matches(self, text: str) -> bool:
        """Tell whether a whole string matches."""
        first, last = self._parts[0], self._parts[-1]
        if self._whole:
            return first.length == len(text) and first.is_at(text, 0)
        if first.length + last.length > len(text) or not first.is_at(text, 0):
            return False
        end = len(text) - last.length
        if not last.is_at(text, end):
            return False
        position = first.length
        for part in self._parts[1:-1]:  # the leftmost match of each part leaves the most text to the parts that follow
            found = part.find(text, position, end)
            if found < 0:
                return False
            position = found + part.length
        return True


class _Literal:
    """Characters that stand for themselves."""

    __slots__ = ("_text", "length")

    def __init__(self, text: str) -> None:
        self._text = text
        self.length = len(text)

    def is_at(self, text: str, position: int) -> bool:
        return text.startswith(self._text, position)

    def find(self, text: str, start: int, end: int) -> int:
        return text.find(self._text, start, end)


class _WithAnyOne:
    """Characters and `?` wildcards: an expression without repetitions, whose search is bounded."""

    __slots__ = ("_expression", "length")

    def __init__(self, pieces: Sequence[str | Wild]) -> None:
        self._expression = re.compile(
            "".join(re.escape(piece) if isinstance(piece, str) else "." for piece in pieces), re.DOTALL
        )
        self.length = sum(len(piece) if isinstance(piece, str) else 1 for piece in pieces)

    def is_at(self, text: str, position: int) -> bool:
        return self._expression.match(text, position) is not None

    def find(self, text: str, start: int, end: int) -> int:
        found = self._expression.search(text, start, end)
        return -1 if found is None else found.start()


def _part(pieces: Sequence[str | Wild]) -> _Literal | _WithAnyOne:
    literal = [piece for piece in pieces if isinstance(piece, str)]
    return _Literal("".join(literal)) if len(literal) == len(pieces) else _WithAnyOne(pieces)


@dataclass(frozen=True, slots=True)
class Pattern:
    """A string of a policy, matched against strings of a request."""

    text: str
    pieces: tuple[Piece, ...]
    fixed: Glob | None

    @property
    def variables(self) -> Iterator[str]:
        """The condition keys that it uses."""
        return (piece.key for piece in self.pieces if isinstance(piece, Variable))

    def matches(self, text: str, context: Context) -> bool:
        """Tell whether a string matches; never when a variable has no value, or several."""
        if self.fixed is not None:
            return self.fixed.matches(text)
        first = self.pieces[0]
        if isinstance(first, str) and not text.startswith(first):
            return False
        pieces = self.resolved(context)
        return pieces is not None and Glob(pieces).matches(text)

    def resolved(self, context: Context) -> list[str | Wild] | None:
        """Substitute variables by their values, in which wildcards are literal; None when one has no single value."""
        return resolve(self.pieces, context)


def resolve(pieces: Sequence[Piece], context: Context) -> list[str | Wild] | None:
    """Substitute variables by their values; None when one has neither a single value nor a default."""
    resolved: list[str | Wild] = []
    for piece in pieces:
        if not isinstance(piece, Variable):
            resolved.append(piece)
            continue
        values = context.get(piece.exact) or context.get(piece.key, ())
        if len(values) == 1:
            resolved.append(values[0])
        elif not values and piece.default is not None:
            resolved.append(piece.default)
        else:
            return None
    return resolved


def pieces_of(text: str, *, wildcards: bool = True, variables: bool = True) -> tuple[Piece, ...]:
    """Split a string of a policy into literal text, wildcards and variables.

    Without `variables`, as in policies of version 2008-10-17, `${…}` is text like any other.
    """
    pieces: list[Piece] = []
    position = 0
    start = text.find("${") if variables else -1
    while start >= 0:
        end = text.find("}", start, start + _LONGEST)
        found = _variable(text[start + 2 : end]) if end >= 0 else None
        if found is not None:
            pieces += _plain(text[position:start], wildcards=wildcards)
            pieces.append(found)
            position = end + 1
        start = text.find("${", start + 2 if found is None else position)
    pieces += _plain(text[position:], wildcards=wildcards)
    return tuple(pieces)


def _variable(text: str) -> str | Variable | None:
    """Read the text between braces: a key, or an escaped character; None if it is neither."""
    key, comma, rest = text.partition(",")
    quoted = rest.strip()
    default = quoted[1:-1]
    if not key or "'" in key or (comma and (quoted != f"'{default}'" or "'" in default)):
        return None
    key = key.strip() or " "  # a value that no request has
    return key if key in _ESCAPED else Variable(key.lower(), default if comma else None, exact_key(key))


def exact_key(key: str) -> str:
    """Return a condition key in lower case, except for the key of a tag in it, as in `aws:requesttag/Team`."""
    name, slash, tag = key.partition("/")
    return f"{name.lower()}{slash}{tag}"


def pattern(text: str, *, wildcards: bool = True, variables: bool = True) -> Pattern:
    """Compile a string of a policy."""
    pieces = pieces_of(text, wildcards=wildcards, variables=variables)
    constant = [piece for piece in pieces if not isinstance(piece, Variable)]
    return Pattern(text, pieces, Glob(constant) if len(constant) == len(pieces) else None)


def _plain(text: str, *, wildcards: bool) -> Iterator[str | Wild]:
    if not wildcards:
        if text:
            yield text
        return
    for part in re.split(r"([*?])", text):
        if part == "*":
            yield Wild.MANY
        elif part == "?":
            yield Wild.ONE
        elif part:
            yield part

"""`Filter.N` of the Describe operations as a value: its SQL patterns, and matching of rows in memory.

Values of one filter are alternatives, several filters must all hold. In a value `*` stands for any characters, `?` for
exactly one, and a backslash escapes either. Comparisons are case-sensitive; SQLite's LIKE is not unless
`PRAGMA case_sensitive_like` is on, so use `globs` there and `likes` elsewhere.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

LIKE_ESCAPE: Final = "\\"
_ANY: Final = "*"
_ONE: Final = "?"
_TAG_PREFIX: Final = "tag:"


def _pieces(value: str) -> Iterator[tuple[bool, str]]:
    """Split into characters and whether each is a wildcard."""
    characters = iter(value)
    for character in characters:
        if character == "\\":
            yield False, next(characters, "\\")
        else:
            yield character in (_ANY, _ONE), character


def is_pattern(value: str) -> bool:
    """Whether a filter value has a wildcard."""
    return any(wild for wild, _ in _pieces(value))


def literal(value: str) -> str:
    """A filter value without wildcards as the text that it stands for."""
    return "".join(character for _, character in _pieces(value))


def like(value: str) -> str:
    """A filter value as a pattern for LIKE with `LIKE_ESCAPE`."""
    wildcards = {_ANY: "%", _ONE: "_"}
    pieces = []
    for wild, character in _pieces(value):
        if wild:
            pieces.append(wildcards[character])
        else:
            pieces.append(LIKE_ESCAPE + character if character in "%_\\" else character)
    return "".join(pieces)


def glob(value: str) -> str:
    """A filter value as a pattern for SQLite's `GLOB`."""
    return "".join(
        character if wild or character not in "*?[" else f"[{character}]" for wild, character in _pieces(value)
    )


def _regex(value: str) -> str:
    """A filter value as a regular expression that never retries a `*` once the part after it has matched."""
    parts = [""]
    for wild, character in _pieces(value):
        if wild and character == _ANY:
            parts.append("")
        else:
            parts[-1] += "." if wild else re.escape(character)
    first, *rest = parts
    if not rest:
        return first
    *middle, last = rest
    return first + "".join(f"(?>.*?{part})" for part in middle if part) + ".*" + last


@dataclass(frozen=True)
class Filter:
    """One filter of a Describe: `name` as EC2 spells it, `values` as sent by the client; `account_id` of the caller."""

    name: str
    values: tuple[str, ...]
    account_id: str = ""

    @property
    def tag_key(self) -> str | None:
        """The key of a `tag:<key>` filter, None for any other filter."""
        return self.name.removeprefix(_TAG_PREFIX) if self.name.startswith(_TAG_PREFIX) else None

    @property
    def is_pattern(self) -> bool:
        """Whether any value has a wildcard."""
        return any(is_pattern(value) for value in self.values)

    @cached_property
    def exact(self) -> tuple[str, ...]:
        """The values that have no wildcard, ready for `IN`."""
        return tuple(literal(value) for value in self.values if not is_pattern(value))

    @cached_property
    def likes(self) -> tuple[str, ...]:
        """The values that have a wildcard, as `LIKE` patterns with `LIKE_ESCAPE`."""
        return tuple(like(value) for value in self.values if is_pattern(value))

    @cached_property
    def globs(self) -> tuple[str, ...]:
        """The values that have a wildcard, as patterns for SQLite's `GLOB`."""
        return tuple(glob(value) for value in self.values if is_pattern(value))

    @cached_property
    def _compiled(self) -> re.Pattern[str]:
        return re.compile("|".join(f"(?:{_regex(value)})" for value in self.values) or r"(?!)", re.DOTALL)

    def matches(self, value: str | None) -> bool:
        """Whether a row's value is one of those asked for; a row without the value never is."""
        return value is not None and self._compiled.fullmatch(value) is not None

    def matches_any(self, values: Iterable[str]) -> bool:
        """Whether one of a row's several values is one of those asked for."""
        return any(self.matches(value) for value in values)

    def matches_tags(self, tags: Mapping[str, str]) -> bool:
        """Whether a row's tags satisfy a `tag:<key>`, `tag-key` or `tag-value` filter."""
        key = self.tag_key
        if key is not None:
            return self.matches(tags.get(key))
        return self.matches_any(tags.values() if self.name == "tag-value" else tags)


def is_tag_filter(name: str) -> bool:
    """Return whether a filter is about tags, which every taggable resource supports."""
    return name in ("tag-key", "tag-value") or (name.startswith(_TAG_PREFIX) and len(name) > len(_TAG_PREFIX))

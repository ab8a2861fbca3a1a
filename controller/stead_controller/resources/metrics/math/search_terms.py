"""Which metrics the terms of a SEARCH find. Pure.

See https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/search-expression-syntax.html.
"""

import csv
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from stead_controller.errors import InvalidParameter
from stead_controller.resources.metrics.measures import Metric

MOST: Final = 500
"""Metrics that a SEARCH finds at most."""

_DEEPEST: Final = 50
_SCHEMA: Final = re.compile(r"\s*\{([^}]*)\}")
_TOKEN: Final = re.compile(
    r'\s*(?:(?P<sign>[()])|(?P<key>"[^"]+"|[^\s()"=]+)\s*=\s*(?P<of>"[^"]*"|[^\s()"]+|(?=\())|(?P<quoted>"[^"]*")|(?P<bare>[^\s()"=]+))'
)
_WORDS: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")

type Matches = Callable[[Metric], bool]


@dataclass(frozen=True, slots=True)
class Terms:
    """What is searched for: the namespace and the names of all dimensions if there is a schema, and the terms."""

    namespace: str | None
    dimensions: frozenset[str] | None
    matches: Matches

    def find(self, metric: Metric) -> bool:
        """Tell whether a metric is found."""
        if self.namespace is not None and metric.namespace != self.namespace:
            return False
        if self.dimensions is not None and {name for name, _ in metric.dimensions} != self.dimensions:
            return False
        return self.matches(metric)


def parse(text: str) -> Terms:
    """Read the terms of a SEARCH; raises InvalidParameter."""
    namespace, dimensions, rest = None, None, text
    if schema := _SCHEMA.match(text):
        parts = [part.strip() for row in csv.reader([schema[1]], skipinitialspace=True) for part in row]
        if not parts or not all(parts):
            raise InvalidParameter("The schema of a SEARCH needs a namespace.")
        namespace, dimensions, rest = parts[0], frozenset(parts[1:]), text[schema.end() :]
    parser = _Parser(rest)
    matches = parser.either(0) if parser.tokens else _all
    if parser.at < len(parser.tokens):
        raise InvalidParameter(f"Error in the terms of a SEARCH: '{rest[:100]}'.")
    if namespace is None and not parser.tokens:
        raise InvalidParameter("A SEARCH needs terms.")
    return Terms(namespace, dimensions, matches)


def _all(metric: Metric) -> bool:
    del metric
    return True


class _Parser:
    """Reads terms by OR, AND (which may be left out) and NOT; `at` is the next token."""

    def __init__(self, text: str) -> None:
        self.tokens = list(_tokens(text))
        self.at = 0

    def either(self, depth: int) -> Matches:
        """Read what OR connects."""
        found = [self._both(depth)]
        while self._takes("OR"):
            found.append(self._both(depth))
        return found[0] if len(found) == 1 else lambda metric: any(one(metric) for one in found)

    def _both(self, depth: int) -> Matches:
        found = [self._single(depth)]
        while self.at < len(self.tokens) and self.tokens[self.at] not in ("OR", ")"):
            self._takes("AND")
            found.append(self._single(depth))
        return found[0] if len(found) == 1 else lambda metric: all(one(metric) for one in found)

    def _single(self, depth: int) -> Matches:
        if depth > _DEEPEST or self.at == len(self.tokens):
            raise InvalidParameter("The terms of a SEARCH end too early, or are nested too deeply.")
        if self._takes("NOT"):
            inner = self._single(depth + 1)
            return lambda metric: not inner(metric)
        if self._takes("("):
            matches = self.either(depth + 1)
            if not self._takes(")"):
                raise InvalidParameter("A parenthesis in a SEARCH is not closed.")
            return matches
        token = self.tokens[self.at]
        if isinstance(token, str):
            raise InvalidParameter(f"Unexpected '{token}' in a SEARCH.")
        self.at += 1
        return token

    def _takes(self, word: str) -> bool:
        is_next = self.at < len(self.tokens) and self.tokens[self.at] == word
        self.at += is_next
        return is_next


def _tokens(text: str) -> Iterator[str | Matches]:
    at, end = 0, len(text.rstrip())
    while at < end:
        found = _TOKEN.match(text, at)
        if found is None or found["of"] == "":
            raise InvalidParameter(f"Error in the terms of a SEARCH: '{text[at:].strip()[:100]}'.")
        at = found.end()
        if found["sign"] or found["bare"] in ("AND", "OR", "NOT"):
            yield found["sign"] or found["bare"]
        elif found["key"]:
            yield _property(found["key"].strip('"'), _text(found["of"]))
        else:
            yield _anywhere(_text(found["quoted"] or found["bare"]))


def _text(written: str) -> Callable[[str], bool]:
    """Return how a written term matches a text: whole if it is in quotes, else by its words, in any case."""
    if written.startswith('"'):
        whole = written.strip('"')
        return lambda text: text == whole
    words = _words(written)
    return lambda text: set(words) <= set(_words(text)) or written.lower() == text.lower()


def _words(text: str) -> list[str]:
    return [word.lower() for word in _WORDS.findall(text)]


def _property(key: str, fits: Callable[[str], bool]) -> Matches:
    if key in ("MetricName", ":aws.MetricName"):
        return lambda metric: fits(metric.name)
    if key in ("Namespace", ":aws.Namespace"):
        return lambda metric: fits(metric.namespace)
    return lambda metric: (value := metric.dimension(key)) is not None and fits(value)


def _anywhere(fits: Callable[[str], bool]) -> Matches:
    def matches(metric: Metric) -> bool:
        pairs = (text for pair in metric.dimensions for text in pair)
        return any(fits(text) for text in (metric.namespace, metric.name, *pairs))

    return matches

"""Rules of composite alarms: texts to trees, and what they say of other alarms' states. Pure.

See https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutCompositeAlarm.html.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from stead_controller.errors import InvalidParameter

MAX_CHILDREN: Final = 100
MAX_ELEMENTS: Final = 500
STATES: Final = ("OK", "ALARM", "INSUFFICIENT_DATA")

_CONSTANTS: Final = {"TRUE": True, "FALSE": False}
_MAX_DEPTH: Final = 60
_TOKEN: Final = re.compile(
    r'\s*(?:(?P<state>OK|ALARM|INSUFFICIENT_DATA)\s*\(\s*(?:"(?P<quoted>(?:[^"\\]|\\.)+)"|(?P<bare>[^"()\s][^()]*?))\s*\)'
    r"|(?P<word>AND|OR|NOT|TRUE|FALSE)\b|(?P<sign>[()]))"
)


@dataclass(frozen=True, slots=True)
class Is:
    """Whether an alarm, by its name or its ARN, is in a state."""

    state: str
    alarm: str


@dataclass(frozen=True, slots=True)
class Constant:
    """TRUE or FALSE."""

    value: bool


@dataclass(frozen=True, slots=True)
class Not:
    """The contrary."""

    of: "Rule"


@dataclass(frozen=True, slots=True)
class Both:
    """Whether both hold."""

    left: "Rule"
    right: "Rule"


@dataclass(frozen=True, slots=True)
class Either:
    """Whether one of both holds."""

    left: "Rule"
    right: "Rule"


type Rule = Is | Constant | Not | Both | Either


def parse(text: str) -> Rule:
    """Read a rule; NOT binds before AND, and AND before OR. Raises InvalidParameter."""
    parser = _Parser(list(_tokens(text)))
    rule = parser.either(0)
    if parser.at < len(parser.tokens):
        raise _invalid(f"unexpected {_shown(parser.tokens[parser.at])}")
    names = children(rule)
    if len(names) > MAX_CHILDREN:
        raise _invalid(f"it names more than {MAX_CHILDREN} alarms")
    return rule


def children(rule: Rule) -> list[str]:
    """Return the alarms that a rule names, each once, as it writes them."""
    return list(dict.fromkeys(_children(rule)))


def _children(rule: Rule) -> Iterator[str]:
    match rule:
        case Is():
            yield rule.alarm
        case Not():
            yield from _children(rule.of)
        case Both() | Either():
            yield from _children(rule.left)
            yield from _children(rule.right)


def holds(rule: Rule, states: Mapping[str, str]) -> bool:
    """Tell whether a rule holds by the states of the alarms that it names; one that is not there is in none."""
    match rule:
        case Is():
            return states.get(rule.alarm) == rule.state
        case Constant():
            return rule.value
        case Not():
            return not holds(rule.of, states)
        case Both():
            return holds(rule.left, states) and holds(rule.right, states)
        case Either():
            return holds(rule.left, states) or holds(rule.right, states)


def _tokens(text: str) -> Iterator[Is | str]:
    at, elements, end = 0, 0, len(text.rstrip())
    while at < end:
        found = _TOKEN.match(text, at)
        if found is None:
            raise _invalid(f"unexpected '{text[at:].strip()[:40]}'")
        at = found.end()
        elements += found["word"] not in ("AND", "OR", "NOT")
        if elements > MAX_ELEMENTS:
            raise _invalid(f"it has more than {MAX_ELEMENTS} elements")
        if found["state"]:
            name = re.sub(r"\\(.)", r"\1", found["quoted"]) if found["quoted"] else found["bare"]
            yield Is(found["state"], name)
        else:
            yield found["word"] or found["sign"]


class _Parser:
    """Reads tokens by their precedence; `at` is the next one."""

    def __init__(self, tokens: list[Is | str]) -> None:
        self.tokens = tokens
        self.at = 0

    def either(self, depth: int) -> Rule:
        """Read what OR connects."""
        rule = self._both(depth)
        while self._takes("OR"):
            rule = Either(rule, self._both(depth))
        return rule

    def _both(self, depth: int) -> Rule:
        rule = self._single(depth)
        while self._takes("AND"):
            rule = Both(rule, self._single(depth))
        return rule

    def _single(self, depth: int) -> Rule:
        if depth > _MAX_DEPTH:
            raise _invalid("it is nested too deeply")
        if self._takes("NOT"):
            return Not(self._single(depth + 1))
        if self._takes("("):
            rule = self.either(depth + 1)
            if not self._takes(")"):
                raise _invalid("a parenthesis is not closed")
            return rule
        if self.at == len(self.tokens):
            raise _invalid("it ends too early")
        token = self.tokens[self.at]
        self.at += 1
        if isinstance(token, Is):
            return token
        if token in _CONSTANTS:
            return Constant(_CONSTANTS[token])
        raise _invalid(f"unexpected {_shown(token)}")

    def _takes(self, token: str) -> bool:
        is_next = self.at < len(self.tokens) and self.tokens[self.at] == token
        self.at += is_next
        return is_next


def _shown(token: Is | str) -> str:
    return f"{token.state}({token.alarm})" if isinstance(token, Is) else token


def _invalid(why: str) -> InvalidParameter:
    return InvalidParameter(f"AlarmRule is not valid: {why}.")

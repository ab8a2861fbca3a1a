"""A text of metric math becomes a tree. Pure."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from stead_controller.errors import InvalidParameter

_DEEPEST: Final = 100
_TOKEN: Final = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)"
    r"|(?P<name>[A-Za-z][A-Za-z0-9_]*)"
    r"|(?P<text>'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")"
    r"|(?P<sign>&&|\|\||==|!=|<=|>=|[-+*/^<>(),\[\]]))"
)
# Operators by how strongly they bind, weakest first.
_LEVELS: Final = (("OR", "||"), ("AND", "&&"), ("==", "!=", "<", ">", "<=", ">="), ("+", "-"), ("*", "/"))
_SYNONYMS: Final = {"&&": "AND", "||": "OR"}


@dataclass(frozen=True, slots=True)
class Number:
    """A number."""

    value: float


@dataclass(frozen=True, slots=True)
class Text:
    """A text in quotes."""

    value: str


@dataclass(frozen=True, slots=True)
class Name:
    """The id of a query, or a word such as REPEAT."""

    name: str


@dataclass(frozen=True, slots=True)
class Negative:
    """A minus before something."""

    of: "Node"


@dataclass(frozen=True, slots=True)
class Binary:
    """An operator between two."""

    operator: str
    left: "Node"
    right: "Node"


@dataclass(frozen=True, slots=True)
class Call:
    """A function, by its name in capitals."""

    function: str
    arguments: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Several:
    """A list in brackets."""

    items: tuple["Node", ...]


type Node = Number | Text | Name | Negative | Binary | Call | Several


def parse(text: str) -> Node:
    """Read an expression; raises InvalidParameter."""
    parser = _Parser(text)
    node = parser.level(0, 0)
    if parser.token is not None:
        raise parser.unexpected()
    return node


def walk(node: Node) -> Iterator[Node]:
    """Yield a node and all below it."""
    yield node
    match node:
        case Negative():
            yield from walk(node.of)
        case Binary():
            yield from walk(node.left)
            yield from walk(node.right)
        case Call():
            for one in node.arguments:
                yield from walk(one)
        case Several():
            for one in node.items:
                yield from walk(one)


def names(node: Node) -> set[str]:
    """Return the ids of queries that an expression names; ids begin with a small letter."""
    return {one.name for one in walk(node) if isinstance(one, Name) and one.name[0].islower()}


class _Parser:
    """Reads tokens by their precedence; `token` is the next one, as its kind and its text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._end = len(text.rstrip())
        self._at = 0
        self.token: tuple[str, str] | None = None
        self._advance()

    def level(self, level: int, depth: int) -> Node:
        """Read what the operators of a level connect, from the left."""
        if level == len(_LEVELS):
            return self._power(depth)
        node = self.level(level + 1, depth)
        while self.token is not None and self.token[1] in _LEVELS[level]:
            operator = self.token[1]
            self._advance()
            node = Binary(_SYNONYMS.get(operator, operator), node, self.level(level + 1, depth))
        return node

    def unexpected(self) -> InvalidParameter:
        """Return the error about the next token."""
        found = "its end" if self.token is None else f"'{self.token[1][:40]}'"
        return InvalidParameter(f"Error in expression '{self._text[:100]}': unexpected {found}.")

    def _power(self, depth: int) -> Node:
        if self._takes("-"):
            return Negative(self._power(self._deeper(depth)))
        base = self._single(depth)
        return Binary("^", base, self._power(self._deeper(depth))) if self._takes("^") else base

    def _single(self, depth: int) -> Node:
        if self.token is None:
            raise self.unexpected()
        kind, text = self.token
        if kind == "sign":
            if self._takes("("):
                node = self.level(0, self._deeper(depth))
                self._expect(")")
                return node
            if self._takes("["):
                return Several(self._list("]", depth))
            raise self.unexpected()
        self._advance()
        if kind == "number":
            return Number(float(text))
        if kind == "text":
            return Text(re.sub(r"\\(.)", r"\1", text[1:-1]))
        return Call(text.upper(), self._list(")", depth)) if self._takes("(") else Name(text)

    def _list(self, end: str, depth: int) -> tuple[Node, ...]:
        found: list[Node] = []
        if self._takes(end):
            return ()
        while True:
            found.append(self.level(0, self._deeper(depth)))
            if self._takes(end):
                return tuple(found)
            self._expect(",")

    def _deeper(self, depth: int) -> int:
        if depth >= _DEEPEST:
            raise InvalidParameter("The expression is nested too deeply.")
        return depth + 1

    def _takes(self, sign: str) -> bool:
        if self.token == ("sign", sign):
            self._advance()
            return True
        return False

    def _expect(self, sign: str) -> None:
        if not self._takes(sign):
            raise self.unexpected()

    def _advance(self) -> None:
        if self._at >= self._end:
            self.token = None
            return
        found = _TOKEN.match(self._text, self._at)
        if found is None:
            rest = self._text[self._at :].strip()[:40]
            raise InvalidParameter(f"Error in expression '{self._text[:100]}': unexpected '{rest}'.")
        self._at = found.end()
        kind = str(found.lastgroup)
        self.token = kind, found[kind]

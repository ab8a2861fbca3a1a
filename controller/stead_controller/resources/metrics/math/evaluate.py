"""All queries of a request: which expressions they may have, and their values. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from stead_controller.errors import InvalidParameter, Unsupported
from stead_controller.resources.metrics.math import operators
from stead_controller.resources.metrics.math.functions import ABSENT, FUNCTIONS, WORDS
from stead_controller.resources.metrics.math.series import Given, Series, Span, Value, finite_of
from stead_controller.resources.metrics.math.syntax import (
    Binary,
    Call,
    Name,
    Negative,
    Node,
    Number,
    Several,
    Text,
    names,
    parse,
    walk,
)

SEARCH: Final = "SEARCH"


@dataclass(frozen=True, slots=True)
class Search:
    """A SEARCH of an expression: the terms, the statistic and the period in seconds; None is the request's own."""

    terms: str
    statistic: str
    period: int | None


@dataclass(frozen=True, slots=True)
class Plan:
    """Expressions by id, in an order in which each comes after those that it names."""

    expressions: Mapping[str, Node]

    def searches(self) -> Iterator[Search]:
        """Yield all SEARCHes, each once."""
        seen = set()
        for node in self.expressions.values():
            for one in walk(node):
                if isinstance(one, Call) and one.function == SEARCH and (found := _search(one)) not in seen:
                    seen.add(found)
                    yield found


def plan(expressions: Mapping[str, str], measured: Sequence[str]) -> Plan:
    """Read expressions by id, beside the ids of measures; raises InvalidParameter, Unsupported."""
    trees = {name: parse(text) for name, text in expressions.items()}
    for name, tree in trees.items():
        _check(name, tree, {*measured, *trees})
    ordered: dict[str, Node] = {}
    while len(ordered) < len(trees):
        ready = [one for one in trees if one not in ordered and names(trees[one]) <= {*measured, *ordered}]
        if not ready:
            circle = sorted(set(trees) - set(ordered))
            raise InvalidParameter(f"The expressions {', '.join(circle)} name each other in a circle.")
        ordered |= {one: trees[one] for one in ready}
    return Plan(ordered)


def evaluate(
    planned: Plan,
    measured: Mapping[str, Series | list[Series]],
    found: Mapping[Search, list[Series]],
    span: Span,
    periods: Mapping[str, int],
) -> dict[str, Series | list[Series]]:
    """Return the series of all expressions, from those of the measures and of SEARCHes; raises InvalidParameter.

    `periods` are those that queries give beside their expressions.
    """
    values: dict[str, Value] = dict(measured)
    shown: dict[str, Series | list[Series]] = {}
    longest = max((one.period for one in _flat(measured)), default=60)
    for name, node in planned.expressions.items():
        given = Given(span, periods.get(name, longest), measured)
        value = _value(node, values, found, given)
        if isinstance(value, str):
            raise InvalidParameter(f"The expression {name} is a text.")
        values[name] = value
        shown[name] = _as_series(value, given)
    return shown


def _flat(measured: Mapping[str, Series | list[Series]]) -> Iterator[Series]:
    for one in measured.values():
        yield from one if isinstance(one, list) else [one]


def _as_series(value: float | Series | list[Series], given: Given) -> Series | list[Series]:
    """Return what is shown of a value: a number is a series of the same value at each time."""
    if isinstance(value, float):
        return Series(dict.fromkeys(given.span.grid(given.period), value), given.period)
    return value


def _value(node: Node, values: Mapping[str, Value], found: Mapping[Search, list[Series]], given: Given) -> Value:
    match node:
        case Number():
            return node.value
        case Text():
            return node.value
        case Name():
            return node.name if node.name in WORDS else values[node.name]
        case Negative():
            return operators.negative(_value(node.of, values, found, given))
        case Binary():
            left, right = (_value(one, values, found, given) for one in (node.left, node.right))
            return operators.apply(node.operator, left, right)
        case Several():
            return _joined([_value(one, values, found, given) for one in node.items])
        case Call():
            if node.function == SEARCH:
                return found[_search(node)]
            arguments = [_value(one, values, found, given) for one in node.arguments]
            try:
                return finite_of(FUNCTIONS[node.function](given, arguments))
            except OverflowError:
                raise InvalidParameter(f"A value of {node.function} is too large.") from None


def _joined(items: Sequence[Value]) -> list[Series]:
    joined: list[Series] = []
    for one in items:
        if isinstance(one, Series):
            joined.append(one)
        elif isinstance(one, list):
            joined += one
        else:
            raise InvalidParameter("A list in brackets may have time series only.")
    return joined


def _check(name: str, tree: Node, known: set[str]) -> None:
    for one in walk(tree):
        if isinstance(one, Name) and one.name not in WORDS and one.name not in known:
            raise InvalidParameter(f"The expression {name} names '{one.name}', which is no id of the request.")
        if isinstance(one, Call):
            if one.function in ABSENT:
                raise Unsupported(f"The function {one.function} is not supported.")
            if one.function == SEARCH:
                _search(one)
            elif one.function not in FUNCTIONS:
                raise InvalidParameter(f"The expression {name} has the unknown function {one.function}.")


def _search(call: Call) -> Search:
    match call.arguments:
        case (Text() as terms, Text() as statistic):
            return Search(terms.value, statistic.value, None)
        case (Text() as terms, Text() as statistic, Number() as period):
            return Search(terms.value, statistic.value, int(period.value))
    raise InvalidParameter("SEARCH needs a text of terms, a statistic in quotes, and perhaps a period.")

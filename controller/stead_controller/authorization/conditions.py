"""Compile a policy's Condition block into tests of a request's context: pure.

The operators are those of https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html,
each with `…IfExists`, and `ForAllValues:` or `ForAnyValue:` before it
(https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-single-vs-multi-valued-context-keys.html).
A policy value that cannot be read as its operator's type, or whose variable has no value, is equal to nothing.
"""

import base64
import binascii
import ipaddress
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from stead_controller.authorization.patterns import Context, Glob, Pattern, Piece, Wild, exact_key, pattern, resolve

type Test = Callable[[str, Context], bool]  # whether one value of the request matches one value of the policy
type Compile = Callable[[str, bool], tuple[Test, Sequence[str]]]  # with the keys of the variables in the value


_LATEST: Final = 2**63 - 1  # seconds or milliseconds


class UnknownOperator(ValueError):
    """There is no condition operator with this name."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One operator on one key: holds when a value of the request matches one of the policy's, or (negated) none.

    `key` is in lower case; in `exact` the key of a tag is spelled as in the policy.
    """

    operator: str
    key: str
    exact: str
    values: tuple[str, ...]
    tests: tuple[Test, ...]
    variables: frozenset[str]
    negated: bool = False
    if_exists: bool = False
    quantifier: str = ""

    def holds(self, context: Context) -> bool:
        """Tell whether the request's values of the key satisfy the condition."""
        given = context.get(self.exact) or context.get(self.key, ())
        if self.operator == "Null":
            return any((value.lower() == "true") != bool(given) for value in self.values)
        if not given:
            if self.quantifier:
                return self.quantifier == "ForAllValues" or self.if_exists
            return self.if_exists or self.negated
        if self.quantifier == "ForAllValues":
            return all(self._fits(value, context) != self.negated for value in given)
        if self.quantifier == "ForAnyValue":
            return any(self._fits(value, context) != self.negated for value in given)
        return any(self._fits(value, context) for value in given) != self.negated

    @property
    def is_readable(self) -> bool:
        """Whether all values are of the operator's type; checked for dates and addresses, which else equal nothing."""
        readable = _READABLE.get(self.operator)
        return readable is None or all(readable(value) for value in self.values)

    def _fits(self, value: str, context: Context) -> bool:
        return any(test(value, context) for test in self.tests)


def _string_like(value: str, variables: bool) -> tuple[Test, Sequence[str]]:
    compiled = pattern(value, variables=variables)
    return compiled.matches, list(compiled.variables)


def _string_equals(value: str, variables: bool) -> tuple[Test, Sequence[str]]:
    compiled = pattern(value, wildcards=False, variables=variables)
    return _equality(compiled, str), list(compiled.variables)


def _string_equals_ignoring_case(value: str, variables: bool) -> tuple[Test, Sequence[str]]:
    compiled = pattern(value, wildcards=False, variables=variables)
    return _equality(compiled, str.lower), list(compiled.variables)


def _equality(compiled: Pattern, spelling: Callable[[str], str]) -> Test:
    def test(given: str, context: Context) -> bool:
        pieces = compiled.resolved(context)
        return pieces is not None and spelling("".join(map(str, pieces))) == spelling(given)

    return test


def _arn(value: str, variables: bool) -> tuple[Test, Sequence[str]]:
    """Compare the six parts of ARNs one by one; a pattern with fewer parts ends with `*` and means all that follow."""
    compiled = pattern(value, variables=variables)
    components = _components(compiled.pieces)

    def test(given: str, context: Context) -> bool:
        parts = given.split(":", 5)
        if len(parts) != 6 or parts[0] != "arn":
            return False
        if len(components) < 6:
            if components[-1][-1:] != [Wild.MANY]:
                return False
            count = len(components)
            parts = [*parts[: count - 1], ":".join(parts[count - 1 :])]
        for component, part in zip(components, parts, strict=True):
            pieces = resolve(component, context)
            if pieces is None or not Glob(pieces).matches(part):
                return False
        return True

    return test, list(compiled.variables)


def _components(pieces: Sequence[Piece]) -> list[list[Piece]]:
    """Split the pieces of an ARN at its first five colons."""
    components: list[list[Piece]] = [[]]
    for piece in pieces:
        if not isinstance(piece, str):
            components[-1].append(piece)
            continue
        first, *others = piece.split(":", 6 - len(components))
        components[-1].append(first)
        components += [[other] for other in others]
    return components


def _number(text: str) -> Decimal | None:
    try:
        number = Decimal(text.strip())
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _moment(text: str) -> Decimal | None:
    """Read a time as seconds since 1970, from such a number or from ISO 8601 (UTC when it names no zone)."""
    number = _number(text)
    if number is not None:
        return number if abs(number) <= _LATEST else None
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return Decimal(str(moment.timestamp()))


def _ordered(
    read: Callable[[str], Decimal | None], compare: Callable[[Decimal, Decimal], bool]
) -> Callable[[str, bool], tuple[Test, Sequence[str]]]:
    def compile_value(value: str, variables: bool) -> tuple[Test, Sequence[str]]:
        del variables  # these operators have none
        bound = read(value)

        def test(given: str, context: Context) -> bool:
            del context
            number = read(given)
            return number is not None and bound is not None and compare(number, bound)

        return test, ()

    return compile_value


def _bool(value: str, variables: bool) -> tuple[Test, Sequence[str]]:
    test, keys = _string_equals_ignoring_case(value, variables)
    return lambda given, context: given.lower() in ("true", "false") and test(given, context), keys


def _binary(value: str, variables: bool) -> tuple[Test, Sequence[str]]:
    del variables
    wanted = _bytes(value)
    return lambda given, _: wanted is not None and _bytes(given) == wanted, ()


def _bytes(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def _address(value: str, variables: bool) -> tuple[Test, Sequence[str]]:
    del variables
    network = _network(value)
    if network is None:
        return lambda *_: False, ()

    def test(given: str, context: Context) -> bool:
        del context
        try:
            address = ipaddress.ip_address(given)
        except ValueError:
            return False
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        return (mapped or address) in network

    return test, ()


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        return None


def _null(value: str, variables: bool) -> tuple[Test, Sequence[str]]:
    del value, variables
    return lambda *_: False, ()  # only the presence of values matters: Condition.holds


def _equal(given: Decimal, bound: Decimal) -> bool:
    return given == bound


# How a value is compared, and whether the operator is negated.
_OPERATORS: Final[dict[str, tuple[Compile, bool]]] = {
    "StringEquals": (_string_equals, False),
    "StringNotEquals": (_string_equals, True),
    "StringEqualsIgnoreCase": (_string_equals_ignoring_case, False),
    "StringNotEqualsIgnoreCase": (_string_equals_ignoring_case, True),
    "StringLike": (_string_like, False),
    "StringNotLike": (_string_like, True),
    "ArnEquals": (_arn, False),
    "ArnLike": (_arn, False),
    "ArnNotEquals": (_arn, True),
    "ArnNotLike": (_arn, True),
    "NumericEquals": (_ordered(_number, _equal), False),
    "NumericNotEquals": (_ordered(_number, _equal), True),
    "NumericLessThan": (_ordered(_number, Decimal.__lt__), False),
    "NumericLessThanEquals": (_ordered(_number, Decimal.__le__), False),
    "NumericGreaterThan": (_ordered(_number, Decimal.__gt__), False),
    "NumericGreaterThanEquals": (_ordered(_number, Decimal.__ge__), False),
    "DateEquals": (_ordered(_moment, _equal), False),
    "DateNotEquals": (_ordered(_moment, _equal), True),
    "DateLessThan": (_ordered(_moment, Decimal.__lt__), False),
    "DateLessThanEquals": (_ordered(_moment, Decimal.__le__), False),
    "DateGreaterThan": (_ordered(_moment, Decimal.__gt__), False),
    "DateGreaterThanEquals": (_ordered(_moment, Decimal.__ge__), False),
    "Bool": (_bool, False),
    "BinaryEquals": (_binary, False),
    "IpAddress": (_address, False),
    "NotIpAddress": (_address, True),
    "Null": (_null, False),
}
# Whether a value is of its operator's type.
_READABLE: Final[dict[str, Callable[[str], bool]]] = {
    **{name: lambda value: _moment(value) is not None for name in _OPERATORS if name.startswith("Date")},
    "IpAddress": lambda value: _network(value) is not None,
    "NotIpAddress": lambda value: _network(value) is not None,
}
_BY_LOWER_NAME: Final = {name.lower(): name for name in _OPERATORS}
_QUANTIFIERS: Final = {"forallvalues": "ForAllValues", "foranyvalue": "ForAnyValue"}
_IF_EXISTS: Final = "ifexists"


def compile_condition(operator: str, key: str, values: Sequence[str], *, variables: bool) -> Condition:
    """Compile one operator with one key and its values; raises UnknownOperator."""
    quantifier, colon, rest = operator.rpartition(":")
    name = rest.lower()
    if_exists = name.endswith(_IF_EXISTS)
    base = _BY_LOWER_NAME.get(name.removesuffix(_IF_EXISTS))
    if base is None or (colon and quantifier.lower() not in _QUANTIFIERS):
        raise UnknownOperator(operator)
    if base == "Null" and (if_exists or quantifier):
        raise UnknownOperator(operator)
    compile_value, negated = _OPERATORS[base]
    tests: list[Test] = []
    keys: set[str] = set()
    for value in values:
        test, asked = compile_value(value, variables)
        tests.append(test)
        keys.update(asked)
    return Condition(
        operator=base,
        key=key.lower(),
        exact=exact_key(key),
        values=tuple(values),
        tests=tuple(tests),
        variables=frozenset(keys),
        negated=negated,
        if_exists=if_exists,
        quantifier=_QUANTIFIERS.get(quantifier.lower(), ""),
    )


def context_of(values: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Make a request's context from plain values: keys in lower case, values as strings; None is no value.

    An empty list is left out too: to a policy a key without values is an absent key. Tags whose keys differ only in
    case are stored under their exact keys, so that none is mistaken for another.
    """
    context: dict[str, tuple[str, ...]] = {}
    written: dict[str, str] = {}
    for key, value in values.items():
        if value is None:
            continue
        items = value if isinstance(value, list | tuple | set | frozenset) else (value,)
        texts = tuple(_text(item) for item in items)
        if not texts:
            continue
        lower = key.lower()
        other = written.setdefault(lower, key)
        if other != key:
            if other:
                context[exact_key(other)] = context.pop(lower)
                written[lower] = ""
            lower = exact_key(key)
        context[lower] = texts
    return context


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return str(value)

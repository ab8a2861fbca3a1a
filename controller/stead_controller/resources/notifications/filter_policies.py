"""Filter policies of subscriptions: which messages a subscriber wants, by their attributes or by their JSON. Pure.

See https://docs.aws.amazon.com/sns/latest/dg/sns-subscription-filter-policies.html.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from ipaddress import ip_address, ip_network
from typing import Any, Final

from stead_controller.errors import InvalidParameter
from stead_controller.resources.notifications.message_attributes import Attribute

ATTRIBUTES: Final = "MessageAttributes"
BODY: Final = "MessageBody"

_MOST_BYTES: Final = 262_144
_MOST_KEYS: Final = 5
_MOST_COMBINATIONS: Final = 150
_LARGEST: Final = 10**9
_OR: Final = "$or"
_COMPARED: Final[dict[str, Callable[[Decimal, Decimal], bool]]] = {
    "=": lambda one, other: one == other,
    "<": lambda one, other: one < other,
    "<=": lambda one, other: one <= other,
    ">": lambda one, other: one > other,
    ">=": lambda one, other: one >= other,
}
_LOWER, _UPPER = (">", ">="), ("<", "<=")
_TEXTS: Final[dict[str, Callable[[str, str], bool]]] = {
    "prefix": str.startswith,
    "suffix": str.endswith,
    "equals-ignore-case": lambda one, other: one.casefold() == other.casefold(),
}
_WITHIN_BUT: Final = ("prefix", "suffix")


@dataclass(frozen=True, slots=True)
class _Counted:
    """The keys with values in a policy, by their paths, and how many combinations of values there are."""

    keys: frozenset[tuple[str, ...]]
    combinations: int

    def times(self, keys: frozenset[tuple[str, ...]], combinations: int) -> "_Counted":
        return _Counted(self.keys | keys, self.combinations * combinations)


def check(text: str, scope: str) -> None:
    """Raise InvalidParameter for what is no filter policy of a scope."""
    if len(text.encode()) > _MOST_BYTES:
        raise _invalid("Filter policy is too large")
    policy = _read(text)
    if not isinstance(policy, dict):
        raise _invalid("failed to parse JSON.")
    counted = _count(policy, (), nested=scope == BODY)
    if len(counted.keys) > _MOST_KEYS:
        raise _invalid(f"Filter policy can not have more than {_MOST_KEYS} keys")
    if counted.combinations > _MOST_COMBINATIONS:
        raise _invalid("Filter policy is too complex")


def accepts(text: str, scope: str, body: str, attributes: Mapping[str, Attribute]) -> bool:
    """Tell whether a filter policy lets a message through."""
    policy = _read(text)
    if scope == ATTRIBUTES:
        texts = {name: _values(one.data_type, one.text) for name, one in attributes.items() if one.text is not None}
        return _matches(policy, texts)
    message = _read(body)
    return isinstance(message, dict) and _matches(policy, message)


def _read(text: str) -> Any:
    """Return what JSON says, with exact numbers; None for what is none."""
    try:
        return json.loads(text, parse_float=Decimal, parse_int=Decimal, parse_constant=lambda _: None)
    except (ValueError, RecursionError, ArithmeticError):
        return None


def _values(data_type: str, text: str) -> Any:
    kind = data_type.split(".")
    if kind[0] == "Number":
        return _number(text)
    return _read(text) if kind[:2] == ["String", "Array"] else text


def _number(text: str) -> Decimal | str:
    try:
        return Decimal(text)
    except InvalidOperation:  # its exponent is too large: no number of a policy is equal, less or more
        return text


def _matches(policy: Mapping[str, Any], message: Mapping[str, Any]) -> bool:
    return all(_key_matches(key, wanted, message) for key, wanted in policy.items())


def _key_matches(key: str, wanted: Any, message: Mapping[str, Any]) -> bool:
    if key == _OR and _is_or(wanted):
        return any(_matches(one, message) for one in wanted)
    if isinstance(wanted, dict):
        inner = message.get(key)
        found = [one for one in (inner if isinstance(inner, list) else [inner]) if isinstance(one, dict)]
        return any(_matches(wanted, one) for one in found or [{}])
    if key not in message or isinstance(message[key], dict):
        return {"exists": False} in wanted
    value = message[key]
    values = [one for one in (value if isinstance(value, list) else [value]) if not isinstance(one, dict | list)]
    return {"exists": True} in wanted or any(_meets(one, value) for one in wanted for value in values)


def _meets(wanted: Any, value: Any) -> bool:
    """Tell whether a value is what is wanted of it: itself, or what a condition says."""
    if not isinstance(wanted, dict):
        return type(wanted) is type(value) and bool(wanted == value)
    [(name, given)] = wanted.items()
    if name == "anything-but":
        return not any(_meets(one, value) for one in (given if isinstance(given, list) else [given]))
    if name == "numeric":
        pairs = zip(given[::2], given[1::2], strict=True)
        return isinstance(value, Decimal) and all(_COMPARED[sign](value, bound) for sign, bound in pairs)
    if name == "cidr":
        return isinstance(value, str) and _is_within(value, given)
    return name in _TEXTS and isinstance(value, str) and _TEXTS[name](value, given)


def _is_within(address: str, block: str) -> bool:
    try:
        return ip_address(address) in ip_network(block)
    except ValueError:
        return False


def _is_or(wanted: Any) -> bool:
    return isinstance(wanted, list) and len(wanted) > 1 and all(isinstance(one, dict) for one in wanted)


def _count(policy: Mapping[str, Any], path: tuple[str, ...], *, nested: bool) -> _Counted:
    """Check a policy, and count its keys with values and the combinations of these."""
    if not policy:
        raise _invalid("Empty objects are not allowed")
    if len(path) >= _MOST_COMBINATIONS:
        raise _invalid("Filter policy is too complex")
    found = _Counted(frozenset(), 1)
    for key, wanted in policy.items():
        here = (*path, key)
        if key == _OR and _is_or(wanted):
            ways = [_count(one, path, nested=nested) for one in wanted]
            found = found.times(frozenset().union(*(way.keys for way in ways)), sum(way.combinations for way in ways))
        elif isinstance(wanted, dict):
            if not nested:
                raise _invalid("Filter policy scope MessageAttributes does not support nested filter policy")
            inner = _count(wanted, here, nested=nested)
            found = found.times(inner.keys, inner.combinations)
        elif isinstance(wanted, list):
            if not wanted:
                raise _invalid("Empty arrays are not allowed")
            for one in wanted:
                _check_value(one)
            found = found.times(frozenset({here}), len(wanted) * len(here))
        else:
            raise _invalid(f'"{key[:100]}" must be an object or an array')
    return found


def _check_value(wanted: Any) -> None:
    if isinstance(wanted, list):
        raise _invalid("Match value must be String, number, true, false, or null")
    if isinstance(wanted, Decimal):
        _check_number(wanted)
    if not isinstance(wanted, dict):
        return
    if len(wanted) != 1:
        raise _invalid("Only one key allowed in match expression")
    [(name, given)] = wanted.items()
    if name == "anything-but":
        _check_but(given)
    elif name == "exists":
        if not isinstance(given, bool):
            raise _invalid("exists match pattern must be either true or false.")
    elif name == "numeric":
        _check_range(given)
    elif name == "cidr":
        _check_block(given)
    elif name not in _TEXTS:
        raise _invalid(f"Unrecognized match type {name[:100]}")
    elif not isinstance(given, str):
        raise _invalid(f"{name} match pattern must be a string")


def _check_but(given: Any) -> None:
    if isinstance(given, dict):
        if len(given) != 1 or next(iter(given)) not in _WITHIN_BUT:
            raise _invalid("Unsupported anything-but pattern")
        _check_value(given)
        return
    several = given if isinstance(given, list) else [given]
    if not several:
        raise _invalid("Empty arrays are not allowed")
    for one in several:
        if not isinstance(one, str | Decimal):
            raise _invalid("Inside anything-but list, strings and numbers are allowed alone")
        _check_value(one)


def _check_range(given: Any) -> None:
    """Check a comparison with a number, or with a lower and an upper one."""
    if not isinstance(given, list) or len(given) not in (2, 4):
        raise _invalid("Value of numeric must be an array of one or two comparisons")
    signs, bounds = given[::2], given[1::2]
    for sign, bound in zip(signs, bounds, strict=True):
        if not isinstance(sign, str) or sign not in _COMPARED:
            raise _invalid(f"Unrecognized numeric range operator: {str(sign)[:100]}")
        if not isinstance(bound, Decimal):
            raise _invalid(f"Value of {sign} must be numeric")
        _check_number(bound)
    if len(signs) == 2 and (signs[0] not in _LOWER or signs[1] not in _UPPER or bounds[0] >= bounds[1]):
        raise _invalid("Bottom must be less than top")


def _check_number(number: Decimal) -> None:
    if abs(number) > _LARGEST:
        raise _invalid(f"Numbers must be from -{_LARGEST} to {_LARGEST}")


def _check_block(given: Any) -> None:
    try:
        ip_network(given if isinstance(given, str) else "")
    except ValueError as error:
        raise _invalid("Malformed CIDR, one '/' required") from error


def _invalid(why: str) -> InvalidParameter:
    return InvalidParameter(f"Invalid parameter: FilterPolicy: {why}")

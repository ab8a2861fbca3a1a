"""Which products GetProducts is asked for; pure.

See https://docs.aws.amazon.com/aws-cost-management/latest/APIReference/API_pricing_Filter.html.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final

from stead_controller.aws.pricing.products import Product
from stead_controller.errors import InvalidParameter

type _Test = Callable[[str | None], bool]


def _term_match(value: str) -> _Test:
    """Capitals do not count: clients ask for the tenancy `shared`."""
    wanted = value.lower()
    return lambda found: found is not None and found.lower() == wanted


def _values(value: str) -> frozenset[str]:
    return frozenset(part.strip() for part in value.split(","))


def _equals(value: str) -> _Test:
    return lambda found: found == value


def _contains(value: str) -> _Test:
    return lambda found: found is not None and value in found


def _any_of(value: str) -> _Test:
    wanted = _values(value)
    return lambda found: found in wanted


def _none_of(value: str) -> _Test:
    """What lacks the field has none of the values."""
    unwanted = _values(value)
    return lambda found: found not in unwanted


_TYPES: Final[dict[str, Callable[[str], _Test]]] = {
    "TERM_MATCH": _term_match,
    "EQUALS": _equals,
    "CONTAINS": _contains,
    "ANY_OF": _any_of,
    "NONE_OF": _none_of,
}


def choose(products: Iterable[Product], filters: Iterable[Mapping[str, Any]], known: Collection[str]) -> list[Product]:
    """Return the products that fit all filters; raises InvalidParameter for a field that no product can have.

    `known` has their names in lower case: capitals do not count, AWS itself writes `ServiceCode` for `servicecode`.
    """
    tests = [_read(given, known) for given in filters]
    return [one for one in products if all(test(one.fields.get(name)) for name, test in tests)]


def _read(given: Mapping[str, Any], names: Collection[str]) -> tuple[str, _Test]:
    kind, name, value = given["Type"], given["Field"], given["Value"]
    if kind not in _TYPES:
        raise InvalidParameter(
            f"Input Parameters are invalid. The type of filter {kind} is none of {', '.join(_TYPES)}."
        )
    if name.lower() not in names:
        raise InvalidParameter(f"Input Parameters are invalid. No product has the field {name}.")
    return name.lower(), _TYPES[kind](value)

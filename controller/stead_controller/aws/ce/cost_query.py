"""Adds up what uses cost by Cost Explorer's dimensions and tags, as exact fractions."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from typing import Any, Final

from stead_controller.aws.ce import cost_filter, dimensions, words
from stead_controller.aws.ce.cost_filter import Filter
from stead_controller.errors import BadRequest, InvalidParameter, Unsupported
from stead_controller.metering import price_books, priced_uses, uses
from stead_controller.metering.price_book import PriceBook
from stead_controller.metering.usage_sums import MOST_TAGS, Period, Question, Used
from stead_controller.request.transaction import Transaction

COSTS: Final = ("UnblendedCost", "BlendedCost", "AmortizedCost", "NetUnblendedCost", "NetAmortizedCost")
"""The metrics of costs: all the same, since nothing is paid in advance and there are no discounts."""
QUANTITY: Final = "UsageQuantity"
NORMALIZED: Final = "NormalizedUsageAmount"
METRICS: Final = (*COSTS, QUANTITY, NORMALIZED)
_UNBUILT: Final = frozenset(
    {"BilledCost", "ContractedCost", "ListCost", "PublicEquivalentBilledCost", "PublicOnDemandCost"}
)
_NO_UNIT: Final = "N/A"
_PLACES: Final = 10
_MOST_GROUPS: Final = 2


@dataclass(frozen=True, slots=True)
class Group:
    """By what costs are divided: a dimension, a tag or a cost category."""

    kind: str
    key: str


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked of an account: which of its uses count, and how they are divided."""

    account_id: str
    region: str
    edges: tuple[int, ...]
    groups: tuple[Group, ...] = ()
    filter: Filter | None = None


@dataclass(slots=True)
class Sums:
    """What some uses cost together: by currency, and their quantities by unit."""

    costs: defaultdict[str, Fraction] = field(default_factory=lambda: defaultdict(Fraction))
    quantities: defaultdict[str, Fraction] = field(default_factory=lambda: defaultdict(Fraction))
    normalized: Fraction = Fraction(0)

    def add(self, other: "Sums") -> None:
        """Add what others cost."""
        for currency, cost in other.costs.items():
            self.costs[currency] += cost
        for unit, quantity in other.quantities.items():
            self.quantities[unit] += quantity
        self.normalized += other.normalized

    def amount(self, metric: str, currency: str) -> tuple[Fraction, str]:
        """Return a metric and its unit; `currency` is that of no costs at all. Raises BadRequest for several ones."""
        if metric == NORMALIZED:
            return self.normalized, _NO_UNIT
        if metric == QUANTITY:
            unit = next(iter(self.quantities)) if len(self.quantities) == 1 else _NO_UNIT
            return sum(self.quantities.values(), Fraction(0)), unit
        if len(self.costs) > 1:
            raise BadRequest(
                f"Costs of that time are in {' and '.join(sorted(self.costs))}: ask for a time with one currency.",
                code="DataUnavailableException",
            )
        return next(((cost, of) for of, cost in self.costs.items()), (Fraction(0), currency))


def read_groups(given: list[Mapping[str, Any]]) -> tuple[Group, ...]:
    """Read by what costs are divided; raises InvalidParameter, or Unsupported for what there is not here."""
    found = []
    for one in given:
        kind, key = words.require(one.get("Type") or "", "GroupDefinitionType", "type"), one.get("Key")
        if not key:
            raise InvalidParameter("A group definition must have a Key.")
        if kind == "PRODUCT_ATTRIBUTE":
            raise Unsupported("Groups by PRODUCT_ATTRIBUTE are not supported by this cloud.")
        if kind == "DIMENSION":
            dimensions.require(words.require(key, "Dimension", "key"))
        found.append(Group(kind, key))
    if len(found) > _MOST_GROUPS:
        raise InvalidParameter(f"Costs can be grouped by {_MOST_GROUPS} definitions at most.")
    if len(set(found)) < len(found):
        raise InvalidParameter("The same group definition is given twice.")
    return tuple(found)


def read_metrics(given: list[str]) -> tuple[str, ...]:
    """Read names of metrics, each once; raises InvalidParameter, or Unsupported for what there is not here."""
    for name in given:
        if name in _UNBUILT:
            raise Unsupported(f"The metric {name} is not supported by this cloud.")
        if name not in METRICS:
            raise InvalidParameter(f"Metric {name} is invalid. Valid Metrics are: {', '.join(METRICS)}")
    if not given:
        raise InvalidParameter("At least one metric must be given.")
    return tuple(dict.fromkeys(given))


def run(tx: Transaction, query: Query, now: datetime) -> list[dict[tuple[str, ...], Sums]]:
    """Add up, for each part of the time, what uses cost by their groups' values; without groups all together."""
    found: list[dict[tuple[str, ...], Sums]] = [{} for _ in query.edges[1:]]
    filters = () if query.filter is None else (query.filter,)
    keys = {kind: cost_filter.keys_of(filters, kind) for kind in ("DIMENSION", "TAG")}
    for group in query.groups:
        keys.setdefault(group.kind, set()).add(group.key)
    tags = tuple(sorted(keys["TAG"]))
    if len(tags) > MOST_TAGS:
        raise Unsupported(f"More than {MOST_TAGS} tag keys in one request are not supported by this cloud.")
    asked = Question(
        query.account_id, by_zone="AZ" in keys["DIMENSION"], by_resource="RESOURCE_ID" in keys["DIMENSION"], tags=tags
    )
    for used, part, sums in _priced(tx, query, now, asked):

        def value_of(kind: str, key: str, used: Used = used) -> str:
            if kind == "DIMENSION":
                return dimensions.value_of(used, key, query.region)
            return (used.tags[tags.index(key)] or "") if kind == "TAG" else dimensions.NO_CATEGORY

        if query.filter is None or query.filter.holds(value_of):
            which = tuple(_shown(group, value_of(group.kind, group.key)) for group in query.groups)
            found[part].setdefault(which, Sums()).add(sums)
    return found


def currencies(tx: Transaction, edges: tuple[int, ...]) -> list[str]:
    """Return the currency of the prices in force at the beginning of each part."""
    books: list[tuple[Period, PriceBook]] = price_books.within(tx, Period(edges[0], edges[-1]))
    return [next(book.currency for period, book in reversed(books) if period.begin <= begin) for begin in edges[:-1]]


def text_of(amount: Fraction) -> str:
    """Write an amount, rounded to ten places (half to even), without zeros at its end."""
    whole = round(amount * 10**_PLACES)
    sign, digits = "-" * (whole < 0), f"{abs(whole):0{_PLACES + 1}d}"
    return f"{sign}{digits[:-_PLACES]}.{digits[-_PLACES:]}".rstrip("0").rstrip(".")


def _priced(tx: Transaction, query: Query, now: datetime, asked: Question) -> Iterator[tuple[Used, int, Sums]]:
    for priced in priced_uses.between(tx, query.edges, now, asked):
        sums = Sums()
        sums.costs[priced.currency] += priced.line.cost
        sums.quantities[priced.line.unit] += priced.line.quantity
        sums.normalized += priced.line.quantity * uses.normalization(priced.line.used.usage)
        yield priced.line.used, priced.part, sums


def _shown(group: Group, value: str) -> str:
    """Show a group's value; those of tags and cost categories have their key before them."""
    return value if group.kind == "DIMENSION" else f"{group.key}${value}"

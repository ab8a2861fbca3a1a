"""Adds up what uses cost by dimensions and tags, as exact fractions: for Cost Explorer and for budgets."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from typing import Final

from stead_controller.errors import BadRequest, Unsupported
from stead_controller.metering import cost_filter, dimensions, price_books, priced_uses, uses
from stead_controller.metering.cost_filter import Filter
from stead_controller.metering.price_book import PriceBook
from stead_controller.metering.usage_sums import MOST_TAGS, Period, Question, Used
from stead_controller.request.transaction import Transaction

COSTS: Final = ("UnblendedCost", "BlendedCost", "AmortizedCost", "NetUnblendedCost", "NetAmortizedCost")
"""The metrics of costs: all the same, since nothing is paid in advance, and all are after discounts."""
QUANTITY: Final = "UsageQuantity"
NORMALIZED: Final = "NormalizedUsageAmount"
METRICS: Final = (*COSTS, QUANTITY, NORMALIZED)
_NO_UNIT: Final = "N/A"
_PLACES: Final = 10
_DAY: Final = 86400
_KNOWN_DAYS: Final = 28  # whole weeks, so that each weekday counts as often


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


def known_days(tx: Transaction, account_id: str, region: str, chosen: Filter | None, now: datetime) -> list[Sums]:
    """Add up each of the last 28 days that are over, from the first on of which anything was used."""
    query = Query(account_id, region, known_edges(now), filter=chosen)
    return from_first_use([of_day.get((), Sums()) for of_day in run(tx, query, now)])


def known_edges(now: datetime) -> tuple[int, ...]:
    """Return when each of the last 28 days that are over began, and when today did."""
    today = int(now.timestamp()) // _DAY * _DAY
    return tuple(range(today - _KNOWN_DAYS * _DAY, today + 1, _DAY))


def from_first_use(days: list[Sums]) -> list[Sums]:
    """Return days from the first on of which anything was used."""
    first = next((number for number, day in enumerate(days) if day.quantities), len(days))
    return days[first:]


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
    for priced in priced_uses.between(tx, query.edges, now, asked, query.region):
        sums = Sums()
        sums.costs[priced.currency] += priced.line.cost
        sums.quantities[priced.line.unit] += priced.line.quantity
        sums.normalized += priced.line.quantity * uses.normalization(priced.line.used.usage)
        yield priced.line.used, priced.part, sums


def _shown(group: Group, value: str) -> str:
    """Show a group's value; those of tags and cost categories have their key before them."""
    return value if group.kind == "DIMENSION" else f"{group.key}${value}"

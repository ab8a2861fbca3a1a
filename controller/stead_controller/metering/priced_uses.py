"""What accounts used in some time, each part of it at the prices that were in force and by the length of its month."""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cache
from itertools import pairwise

from stead_controller.metering import bills, months, price_books, usage_sums
from stead_controller.metering.bills import BillLine, Size
from stead_controller.metering.price_book import PriceBook
from stead_controller.metering.usage_sums import Period, Question
from stead_controller.request import instance_types
from stead_controller.request.transaction import Transaction


@dataclass(frozen=True, slots=True)
class PricedUse:
    """A line of a bill: its currency, the part of the asked time that it is of, and when in it the price is valid."""

    line: BillLine
    currency: str
    part: int
    period: Period


def between(
    tx: Transaction, edges: Sequence[int], now: datetime, asked: Question, book: PriceBook | None = None
) -> Iterator[PricedUse]:
    """Price what was used between each two edges, which ascend; raises InvalidParameter for more than a century.

    `book` counts in place of those that were set.
    """
    whole = Period(edges[0], edges[-1])
    books = price_books.within(tx, whole) if book is None else [(whole, book)]
    all_edges = {*edges, *months.begins_within(edges[0], edges[-1]), *(period.begin for period, _ in books)}
    parts = [Period(*pair) for pair in pairwise(sorted(all_edges))]
    begins = [period.begin for period, _ in books]
    size_of = sizes(tx)

    @cache
    def price_of(usage: str, number: int) -> Decimal | None:
        return bills.price_of(usage, books[number][1], size_of)

    for used in usage_sums.of_parts(tx, sorted(all_edges), now, asked):
        period = parts[used.used.part]
        number = bisect_right(begins, period.begin) - 1
        line = bills.line(used, price_of(used.used.usage, number), months.seconds_of(period.begin))
        yield PricedUse(line, books[number][1].currency, bisect_right(edges, period.begin) - 1, period)


def sizes(tx: Transaction) -> Callable[[str], Size | None]:
    """Return a function that tells the size of an instance type, if it is known."""

    @cache
    def size_of(name: str) -> Size | None:
        found = instance_types.find(tx, name)
        return None if found is None else Size(found.vcpus, found.memory)

    return size_of

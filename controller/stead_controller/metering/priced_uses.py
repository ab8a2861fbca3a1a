"""What accounts used in some time, each part of it at the prices that were in force and by the length of its month."""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from fractions import Fraction
from functools import cache
from itertools import pairwise
from typing import Final

from stead_controller.metering import bills, months, price_books, tier_shares, usage_sums
from stead_controller.metering.bills import BillLine, Rate, Size
from stead_controller.metering.price_book import PriceBook
from stead_controller.metering.price_tiers import Tiers
from stead_controller.metering.tier_shares import DAY, TierShares
from stead_controller.metering.usage_sums import Period, Question, UsageSum, Used
from stead_controller.request import instance_types
from stead_controller.request.transaction import Transaction

_MOST_PARTS: Final = 24  # more are asked for by days, which the ledger adds up in one go


@dataclass(frozen=True, slots=True)
class PricedUse:
    """A line of a bill: its currency, the part of the asked time that it is of, and when in it the price is valid."""

    line: BillLine
    currency: str
    part: int
    period: Period


def between(  # noqa: PLR0917 - what is priced, and at which prices
    tx: Transaction, edges: Sequence[int], now: datetime, asked: Question, region: str, book: PriceBook | None = None
) -> Iterator[PricedUse]:
    """Price what was used between each two edges, which ascend, at a region's prices.

    There is a line for each tier of a price. `book` counts in place of those that were set. Raises InvalidParameter for
    more than a century.
    """
    month_begins = months.begins_within(edges[0], edges[-1])
    whole = tier_shares.whole_days(edges[0], edges[-1])
    written = price_books.within(tx, whole) if book is None else [(whole, book)]
    books = [(period, found.of(region)) for period, found in written]
    begins = [period.begin for period, _ in books]
    bounds = sorted({*edges, *month_begins, *(begin for begin in begins if edges[0] < begin < edges[-1])})
    parts = [Period(*pair) for pair in pairwise(bounds)]
    size_of = sizes(tx)

    @cache
    def price_of(usage: str, number: int) -> Tiers | None:
        return bills.price_of(usage, books[number][1], size_of)

    @cache
    def rate_of(account_id: str, usage: str, tier: int, number: int) -> Rate:
        tiers = price_of(usage, number)
        percent = books[number][1].discount(account_id, usage)
        return bills.rate(None if tiers is None else tiers[tier].price, tier, percent)

    by_days = all(bound % DAY == 0 or bound in begins for bound in bounds)
    once = bounds if by_days and asked == Question(asked.account_id) else ()
    shares = tier_shares.read(tx, books, now, asked.account_id, price_of, once)
    for used, amount, tier in _by_tiers(tx, bounds, now, asked, shares):
        period = parts[used.part]
        number = bisect_right(begins, period.begin) - 1
        rate = rate_of(used.account_id, used.usage, tier, number)
        line = bills.line(used, amount, rate, months.seconds_of(period.begin))
        yield PricedUse(line, books[number][1].currency, bisect_right(edges, period.begin) - 1, period)


def _by_tiers(
    tx: Transaction, bounds: Sequence[int], now: datetime, asked: Question, shares: TierShares | None
) -> Iterator[tuple[Used, Fraction | int, int]]:
    """Yield what was used between each two bounds, its amount and the number of its price's tier."""
    if shares is None:
        for found in usage_sums.of_parts(tx, bounds, now, asked):
            yield found.used, found.amount, 0
        return
    amounts: dict[tuple[Used, int], Fraction | int] = {}
    for begin, found in _between(tx, bounds, now, asked, shares):
        used = found.used._replace(part=bisect_right(bounds, begin) - 1)
        for tier, share in enumerate(shares.at(used.account_id, used.usage, begin)):
            if share:
                amounts[used, tier] = amounts.get((used, tier), 0) + (
                    found.amount if share == 1 else found.amount * share
                )
    for (used, tier), amount in sorted(amounts.items(), key=lambda one: (usage_sums.order(one[0][0]), one[0][1])):
        yield used, amount, tier


def _between(
    tx: Transaction, bounds: Sequence[int], now: datetime, asked: Question, shares: TierShares
) -> list[tuple[int, UsageSum]]:
    """Return when parts begin in which no share changes, with what was used in them."""
    if shares.sums is not None:  # read for the shares
        rest = usage_sums.of_parts(tx, bounds, now, replace(asked, but=shares.names))
        found = [(bounds[one.used.part], one) for one in rest]
        found += [(begin, one) for begin, one in shares.sums if bounds[0] <= begin < bounds[-1]]
        return found
    edges = sorted({*bounds, *(edge for edge in shares.edges if bounds[0] < edge < bounds[-1])})
    if len(edges) > len(bounds) and len(edges) > _MOST_PARTS:
        edges = sorted({*edges, *range(-(-bounds[0] // DAY) * DAY, bounds[-1], DAY)})
    return [(edges[one.used.part], one) for one in usage_sums.of_parts(tx, edges, now, asked)]


def sizes(tx: Transaction) -> Callable[[str], Size | None]:
    """Return a function that tells the size of an instance type, if it is known."""

    @cache
    def size_of(name: str) -> Size | None:
        found = instance_types.find(tx, name)
        return None if found is None else Size(found.vcpus, found.memory)

    return size_of

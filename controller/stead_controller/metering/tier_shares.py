"""How much of each account's use is in which tier of its price: the same for all that it uses of one kind on one day.

Tiers count what an account uses of one kind from the beginning of the month, day after day in order of time. The day
in which a tier ends is divided by how much of it is in each tier, and so is each of that day's hours, resources and
tags: a use costs the same however a bill is divided. A day in which another price book begins to count is two.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from functools import cache
from itertools import pairwise
from typing import Final

from stead_controller.metering import months, price_tiers, usage_sums
from stead_controller.metering.price_book import PriceBook
from stead_controller.metering.price_tiers import Tiers
from stead_controller.metering.usage_sums import Period, Question, UsageSum
from stead_controller.metering.uses import units_of
from stead_controller.request.transaction import Transaction

DAY: Final = 86400
_ONE: Final = (Fraction(1),)

type Shares = tuple[Fraction, ...]
"""A share for each tier; the sum is 1."""
type Books = Sequence[tuple[Period, PriceBook]]


@dataclass(slots=True)
class _Changes:
    """Shares, and from when on each counts."""

    begins: list[int] = field(default_factory=list)
    shares: list[Shares] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class TierShares:
    """The shares by account and use; between two `edges` none changes.

    `sums` are what they were read of, if that was asked for: uses with one of the `names`, by when their parts begin.
    """

    changes: dict[tuple[str, str], _Changes]
    names: tuple[str, ...] = ()
    sums: list[tuple[int, UsageSum]] | None = None

    @property
    def edges(self) -> set[int]:
        """Where shares change, from the first ones of each use on."""
        return {begin for changes in self.changes.values() for begin in changes.begins[1:]}

    def at(self, account_id: str, usage: str, begin: int) -> Shares:
        """Return the shares of what was used after a moment, until the next of the edges."""
        changes = self.changes.get((account_id, usage))
        if changes is None:
            return _ONE
        return changes.shares[max(0, bisect_right(changes.begins, begin) - 1)]


def whole_days(begin: int, end: int) -> Period:
    """Return the time that tells the shares in another one: from the beginning of its month to the end of its day."""
    return Period(months.begin_of(begin), -(-end // DAY) * DAY)


def read(  # noqa: PLR0917 - what is read, and of what
    tx: Transaction,
    books: Books,
    now: datetime,
    account_id: str,
    price_of: Callable[[str, int], Tiers | None],
    bounds: Sequence[int] = (),
) -> TierShares | None:
    """Read the shares of a time of `whole_days`, which is divided into price books; None if no price has tiers.

    `price_of` is told the name of a use and the number of the book. With `bounds` the sums are given too, of parts that
    these divide as well: so that who asks for them need not read the ledger again.
    """
    names = tuple(sorted({name for _, book in books for name in book.tiered}))
    if not names:
        return None
    begin, end = books[0][0].begin, min(books[-1][0].end, (int(now.timestamp()) // DAY + 2) * DAY)
    begins = [period.begin for period, _ in books]
    edges = sorted({*range(begin, end, DAY), *begins, max(begin, end)})
    pieces = [Period(*pair) for pair in pairwise(edges)]
    changes: dict[tuple[str, str], _Changes] = {}
    if not pieces:
        return TierShares(changes)
    sums = _sums(tx, sorted({*edges, *bounds}), now, account_id, names)

    @cache
    def ends(usage: str, number: int, month: int) -> tuple[Fraction, ...]:
        """Return the ends of all tiers but the last one, as amounts of the ledger."""
        tiers = price_of(usage, number) or ()
        unit = units_of(usage, 1, months.seconds_of(month))
        return tuple(Fraction(tier.end) / unit for tier in tiers if tier.end is not None)

    month_of = [months.begin_of(piece.begin) for piece in pieces]
    before: dict[tuple[str, str, int], int] = {}
    for (owner, usage, part), amount in sorted(_amounts(sums, edges).items()):
        begin, month = pieces[part].begin, month_of[part]
        earlier = before.get((owner, usage, month), 0)
        before[owner, usage, month] = earlier + amount
        found = price_tiers.shares(ends(usage, bisect_right(begins, begin) - 1, month), earlier, amount)
        known = changes.setdefault((owner, usage), _Changes())
        if not known.shares or known.shares[-1] != found:
            known.begins.append(begin)
            known.shares.append(found)
    return TierShares(changes, names, sums if bounds else None)


def _sums(
    tx: Transaction, edges: Sequence[int], now: datetime, account_id: str, names: tuple[str, ...]
) -> list[tuple[int, UsageSum]]:
    """Return when each part between two edges begins, with what each account used in it of each kind and operation."""
    found = usage_sums.of_parts(tx, edges, now, Question(account_id, usages=names))
    return [(edges[one.used.part], one) for one in found]


def _amounts(sums: Sequence[tuple[int, UsageSum]], edges: Sequence[int]) -> dict[tuple[str, str, int], int]:
    """Add up what each account used of each kind, whatever the operation, between each two edges."""
    found: dict[tuple[str, str, int], int] = {}
    for begin, one in sums:
        if begin < edges[-1]:
            key = (one.used.account_id, one.used.usage, bisect_right(edges, begin) - 1)
            found[key] = found.get(key, 0) + one.amount
    return found

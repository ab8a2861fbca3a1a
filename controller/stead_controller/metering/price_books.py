"""The price books of a cloud, by the time from which each is valid; until the first one, the default prices are."""

from bisect import bisect_left
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from stead_controller.db.tables import Account
from stead_controller.db.tables import PriceBook as Row
from stead_controller.errors import AlreadyExists, InvalidParameter
from stead_controller.metering import price_book, uses
from stead_controller.metering.price_book import PriceBook
from stead_controller.metering.usage_sums import Period
from stead_controller.request import instance_types
from stead_controller.request.transaction import Transaction


@dataclass(frozen=True, slots=True)
class StoredBook:
    """A price book as it was written, and from when it is valid; seconds since 1970, 0 for the default one."""

    valid_from: int
    text: str


def add(tx: Transaction, text: str, valid_from: int | None, now: datetime) -> StoredBook:
    """Add a price book that is valid from a moment, by default from now; what was used before is not priced anew.

    Raises InvalidParameter for an error in it, a price of what nothing can use, a discount of no account, or a moment
    that has passed, AlreadyExists for a moment that another book has.
    """
    book = price_book.parse(text)
    _require_uses(tx, book)
    _require_accounts(tx, book)
    present = int(now.timestamp())
    begin = present if valid_from is None else valid_from
    if begin < present:
        raise InvalidParameter(
            "A price book cannot be valid from a time that has passed: what was used then has its price."
        )
    if tx.session.get(Row, begin) is not None:
        raise AlreadyExists("price-book", "Another price book is valid from that moment.")
    tx.session.add(Row(valid_from=begin, text=text))
    return StoredBook(begin, text)


def all_of(tx: Transaction) -> list[StoredBook]:
    """List all price books, the default one first, by the time from which they are valid."""
    rows = tx.session.execute(select(Row.valid_from, Row.text).order_by(Row.valid_from))
    return [StoredBook(0, price_book.default_text()), *(StoredBook(*row) for row in rows)]


def current(tx: Transaction, now: datetime) -> StoredBook:
    """Return the price book that is valid now."""
    moment = int(now.timestamp())
    latest = select(Row.valid_from, Row.text).where(Row.valid_from <= moment).order_by(Row.valid_from.desc()).limit(1)
    row = tx.session.execute(latest).first()
    return StoredBook(0, price_book.default_text()) if row is None else StoredBook(*row)


def within(tx: Transaction, period: Period) -> list[tuple[Period, PriceBook]]:
    """Divide a period into parts that each have one price book."""
    books = all_of(tx)
    ends = [*(book.valid_from for book in books[1:]), period.end]
    parts = []
    for book, end in zip(books, ends, strict=True):
        part = Period(max(period.begin, book.valid_from), min(period.end, end))
        if part.begin < part.end:
            parts.append((part, price_book.parse(book.text)))
    return parts


def names_of_uses(tx: Transaction) -> list[str]:
    """List what may have a price, sorted: all uses, those of instances for each type, of hosts for each family."""
    types = instance_types.everything(tx)
    of_types = {f"{kind}{one.name}" for kind in uses.OF_TYPES for one in types}
    of_hosts = {f"{uses.OF_HOSTS}{one.family}" for one in types}
    of_credits = {f"{uses.OF_CREDITS}{one.family}" for one in types if one.burstable}
    return sorted(uses.NAMES | of_types | of_hosts | of_credits)


def _require_accounts(tx: Transaction, book: PriceBook) -> None:
    """Raise InvalidParameter for a discount of an account that does not exist."""
    for account_id in {account_id for _, account_id in book.discounts}:
        if tx.session.get(Account, account_id) is None:
            raise InvalidParameter(f"There is a discount of account {account_id}, which does not exist.")


def _require_uses(tx: Transaction, book: PriceBook) -> None:
    """Raise InvalidParameter for a price of a use, or of an instance type, that does not exist."""
    names = names_of_uses(tx)
    discounts = (("discount", usage) for found in book.discounts.values() for usage in found)
    prices = (("price", usage) for some in (book.prices, *book.regional.values()) for usage in some)
    for what, usage in (*prices, *discounts):
        start = usage.removesuffix("*")
        place = bisect_left(names, start)
        found = names[place] if place < len(names) else ""
        if found == start or (start != usage and found.startswith(start)):
            continue
        if usage.startswith(uses.OF_TYPES):
            name = usage.partition(":")[2]
            raise InvalidParameter(f"There is a {what} for {usage}, and there is no instance type {name}.")
        if usage.startswith(uses.OF_FAMILIES):
            name = usage.partition(":")[2]
            raise InvalidParameter(f"There is a {what} for {usage}, and there is no instance family {name}.")
        raise InvalidParameter(
            f"There is a {what} for {usage}, which nothing uses; there are {', '.join(sorted(uses.NAMES))}."
        )

"""The price books of a cloud, by the time from which each is valid; until the first one, the default prices are."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from stead_controller.db.tables import PriceBook as Row
from stead_controller.errors import AlreadyExists, InvalidParameter
from stead_controller.metering import price_book
from stead_controller.metering.price_book import PriceBook
from stead_controller.metering.usage_sums import Period
from stead_controller.request.transaction import Transaction


@dataclass(frozen=True, slots=True)
class StoredBook:
    """A price book as it was written, and from when it is valid; seconds since 1970, 0 for the default one."""

    valid_from: int
    text: str


def add(tx: Transaction, text: str, valid_from: int | None, now: datetime) -> StoredBook:
    """Add a price book that is valid from a moment, by default from now; what was used before is not priced anew.

    Raises InvalidParameter for an error in it or a moment that has passed, AlreadyExists for one that another book has.
    """
    price_book.parse(text)
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

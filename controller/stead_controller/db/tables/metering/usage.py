"""What accounts use: meters that run, and the lines of the ledger that are written when they end."""

from sqlalchemy import BigInteger, Index, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base
from stead_controller.db.types import AccountId, ResourceId

UsageName = String(64)


class UsageMeter(Base):
    """One use of a resource that has begun and not ended; times are whole seconds since 1970.

    `usage` and `operation` are AWS's names, such as BoxUsage:t3.micro and RunInstances, and `quantity` how much of it
    is used in each second: 1, or GiB, for example. `least` is for how many seconds it is billed at least.
    """

    __tablename__ = "usage_meters"
    __table_args__ = (Index("ix_usage_meters_account_id_began", "account_id", "began"),)

    resource_id: Mapped[str] = mapped_column(ResourceId, primary_key=True)
    usage: Mapped[str] = mapped_column(UsageName, primary_key=True)
    account_id: Mapped[str] = mapped_column(AccountId)
    operation: Mapped[str] = mapped_column(UsageName)
    zone: Mapped[str] = mapped_column(String(64))
    quantity: Mapped[int] = mapped_column(BigInteger)
    least: Mapped[int] = mapped_column(Integer)
    began: Mapped[int] = mapped_column(BigInteger)


class UsageLine(Base):
    """A line of the ledger: a use that has ended. Lines are added, and never changed or removed.

    It is billed from `began` to `ended`, which lies later than its end where it was shorter than its least time.
    """

    __tablename__ = "usage_lines"
    __table_args__ = (
        Index("ix_usage_lines_account_id_ended", "account_id", "ended"),
        Index("ix_usage_lines_ended", "ended"),
    )

    number: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True
    )
    account_id: Mapped[str] = mapped_column(AccountId)
    resource_id: Mapped[str] = mapped_column(ResourceId)
    usage: Mapped[str] = mapped_column(UsageName)
    operation: Mapped[str] = mapped_column(UsageName)
    zone: Mapped[str] = mapped_column(String(64))
    quantity: Mapped[int] = mapped_column(BigInteger)
    began: Mapped[int] = mapped_column(BigInteger)
    ended: Mapped[int] = mapped_column(BigInteger)


class PriceBook(Base):
    """Prices that hold from a moment (seconds since 1970) until the next book's; `text` is TOML, of `price_book.py`."""

    __tablename__ = "price_books"

    valid_from: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    text: Mapped[str] = mapped_column(Text)

"""What the lines of the ledger amount to by day, so that no bill reads all of them."""

from sqlalchemy import BigInteger, Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base
from stead_controller.db.tables.metering.usage import UsageName
from stead_controller.db.types import AccountId


class UsageDay(Base):
    """The parts of counted lines that lie in a day, by its number since 1970: their quantities times seconds."""

    __tablename__ = "usage_days"
    __table_args__ = (Index("ix_usage_days_day", "day"),)

    account_id: Mapped[str] = mapped_column(AccountId, primary_key=True)
    day: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    usage: Mapped[str] = mapped_column(UsageName, primary_key=True)
    operation: Mapped[str] = mapped_column(UsageName, primary_key=True)
    zone: Mapped[str] = mapped_column(String(64), primary_key=True)
    amount: Mapped[int] = mapped_column(BigInteger)


class UsageDaysMark(Base):
    """The one row that says up to which number lines are counted in days."""

    __tablename__ = "usage_days_mark"

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(BigInteger)

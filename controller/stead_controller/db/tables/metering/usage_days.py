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


class UsageTagDay(Base):
    """The same of what was used while its resource had a tag."""

    __tablename__ = "usage_tag_days"
    __table_args__ = (Index("ix_usage_tag_days_tag_key_day", "tag_key", "day"),)

    account_id: Mapped[str] = mapped_column(AccountId, primary_key=True)
    tag_key: Mapped[str] = mapped_column(String(128), primary_key=True)
    day: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    usage: Mapped[str] = mapped_column(UsageName, primary_key=True)
    operation: Mapped[str] = mapped_column(UsageName, primary_key=True)
    zone: Mapped[str] = mapped_column(String(64), primary_key=True)
    tag_value: Mapped[str] = mapped_column(String(256), primary_key=True)
    amount: Mapped[int] = mapped_column(BigInteger)


class UsageDaysMark(Base):
    """Up to which number lines are counted in days: a row for all of them, and one for what had tags."""

    __tablename__ = "usage_days_mark"

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(BigInteger)

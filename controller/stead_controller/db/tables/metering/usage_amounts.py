"""What accounts used at moments rather than for a time: bytes, credits, requests."""

from sqlalchemy import BigInteger, Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base
from stead_controller.db.tables.metering.usage import UsageName
from stead_controller.db.types import AccountId

SubjectName = String(64)


class UsageAmount(Base):
    """How much a resource used in an hour, by its number since 1970; that of an hour that is over never changes.

    It began to at `began`, in seconds since 1970: what counts by time, such as tags and prices, does by this moment.
    """

    __tablename__ = "usage_amounts"
    __table_args__ = (
        Index("ix_usage_amounts_account_id_began", "account_id", "began"),
        Index("ix_usage_amounts_began", "began"),
    )

    resource_id: Mapped[str] = mapped_column(SubjectName, primary_key=True)
    usage: Mapped[str] = mapped_column(UsageName, primary_key=True)
    operation: Mapped[str] = mapped_column(UsageName, primary_key=True)
    hour: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    account_id: Mapped[str] = mapped_column(AccountId)
    zone: Mapped[str] = mapped_column(String(64))
    began: Mapped[int] = mapped_column(BigInteger)
    amount: Mapped[int] = mapped_column(BigInteger)


class UsageFile(Base):
    """Up to which byte a file of records of calls is billed; a digest of its first line tells which file that is.

    A row stays when its file is gone: the file may come back, in another place or by another name.
    """

    __tablename__ = "usage_files"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    reached: Mapped[int] = mapped_column(BigInteger)


class UsageCounter(Base):
    """Up to what number a counter that somebody else keeps is billed: one for each epoch, in which it only grows.

    It is remembered as long as its resource is, since a counter that is not known would be billed from zero.
    """

    __tablename__ = "usage_counters"

    resource_id: Mapped[str] = mapped_column(SubjectName, primary_key=True)
    name: Mapped[str] = mapped_column(UsageName, primary_key=True)
    epoch: Mapped[str] = mapped_column(SubjectName, primary_key=True)
    total: Mapped[int] = mapped_column(BigInteger)

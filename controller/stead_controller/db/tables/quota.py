"""What the operator lets accounts have, and what they have where counting it would take long."""

from sqlalchemy import BigInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base
from stead_controller.db.types import AccountId


class ServiceQuota(Base):
    """A quota that the operator has set, for one account or, with an empty `account_id`, for all."""

    __tablename__ = "service_quotas"

    account_id: Mapped[str] = mapped_column(AccountId, primary_key=True)
    service: Mapped[str] = mapped_column(String(32), primary_key=True)
    code: Mapped[str] = mapped_column(String(16), primary_key=True)
    value: Mapped[int] = mapped_column(BigInteger)


class AccountUsage(Base):
    """How much of something an account has: `vcpus` are those that its instances take from their hosts."""

    __tablename__ = "account_usage"

    account_id: Mapped[str] = mapped_column(AccountId, primary_key=True)
    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    value: Mapped[int] = mapped_column(BigInteger)

"""Tags by which costs are divided: the keys that accounts chose, and which of them resources had when."""

from sqlalchemy import BigInteger, Boolean, String
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base
from stead_controller.db.types import AccountId, ResourceId


class CostTag(Base):
    """A tag key that an account made active, or inactive again; `changed` is when, in whole seconds since 1970."""

    __tablename__ = "cost_tags"

    account_id: Mapped[str] = mapped_column(AccountId, primary_key=True)
    key: Mapped[str] = mapped_column(String(128), primary_key=True)
    active: Mapped[bool] = mapped_column(Boolean)
    changed: Mapped[int] = mapped_column(BigInteger)


class UsageTag(Base):
    """A value that a resource's tag had from `began` (0: since its creation) until `ended` (None: it still has).

    Written for active keys only, in the transaction that changes the tag. What ended never changes again.
    """

    __tablename__ = "usage_tags"

    account_id: Mapped[str] = mapped_column(AccountId, primary_key=True)
    key: Mapped[str] = mapped_column(String(128), primary_key=True)
    resource_id: Mapped[str] = mapped_column(ResourceId, primary_key=True)
    began: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    ended: Mapped[int | None] = mapped_column(BigInteger)
    value: Mapped[str] = mapped_column(String(256))

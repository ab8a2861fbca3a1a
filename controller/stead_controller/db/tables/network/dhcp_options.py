"""Sets of DHCP options, which VPCs hand out to their guests."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base
from stead_controller.db.types import AccountId, ResourceId


class DhcpOptions(Base):
    """A set of options; new VPCs of an account get its oldest set that is marked as `initial`."""

    __tablename__ = "dhcp_options"
    __table_args__ = (Index("ix_dhcp_options_account_id_id", "account_id", "id", unique=True),)

    id: Mapped[str] = mapped_column(ResourceId, primary_key=True)
    account_id: Mapped[str] = mapped_column(AccountId)
    initial: Mapped[bool] = mapped_column(default=False)
    created: Mapped[datetime]


class DhcpOptionValue(Base):
    """One value of one option of a set; `position` preserves the order in which they were given."""

    __tablename__ = "dhcp_option_values"

    options_id: Mapped[str] = mapped_column(ForeignKey("dhcp_options.id", ondelete="CASCADE"), primary_key=True)
    position: Mapped[int] = mapped_column(Integer, primary_key=True)
    key: Mapped[str] = mapped_column(String(64))
    value: Mapped[str] = mapped_column(String(255))

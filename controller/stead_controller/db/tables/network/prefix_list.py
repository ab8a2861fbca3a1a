"""Managed prefix lists and their entries in all versions."""

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base
from stead_controller.db.types import AccountId, ResourceId


class PrefixList(Base):
    """A named list of CIDR blocks; `version` grows by one with each change of the entries."""

    __tablename__ = "prefix_lists"
    __table_args__ = (Index("ix_prefix_lists_account_id_id", "account_id", "id", unique=True),)

    id: Mapped[str] = mapped_column(ResourceId, primary_key=True)
    account_id: Mapped[str] = mapped_column(AccountId)
    name: Mapped[str] = mapped_column(String(255))
    address_family: Mapped[str] = mapped_column(String(4))  # IPv4, IPv6
    max_entries: Mapped[int] = mapped_column(Integer)
    version: Mapped[int] = mapped_column(BigInteger, default=1)
    state: Mapped[str] = mapped_column(String(24))  # create-complete, modify-complete, restore-complete
    created: Mapped[datetime]


class PrefixListEntry(Base):
    """A block in the list from `first_version` to `last_version`; None means that it is in the newest version."""

    __tablename__ = "prefix_list_entries"

    prefix_list_id: Mapped[str] = mapped_column(ForeignKey("prefix_lists.id", ondelete="CASCADE"), primary_key=True)
    cidr: Mapped[str] = mapped_column(String(43), primary_key=True)
    first_version: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    last_version: Mapped[int | None] = mapped_column(BigInteger)
    description: Mapped[str | None] = mapped_column(String(255))

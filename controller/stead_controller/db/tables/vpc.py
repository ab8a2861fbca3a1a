"""VPCs and subnets."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base
from stead_controller.db.types import AccountId, ResourceId


class Vpc(Base):
    """A private network; `vni` numbers it on the wire between hosts."""

    __tablename__ = "vpcs"
    __table_args__ = (Index("ix_vpcs_account_id_id", "account_id", "id"),)

    id: Mapped[str] = mapped_column(ResourceId, primary_key=True)
    account_id: Mapped[str] = mapped_column(AccountId)
    cidr_block: Mapped[str] = mapped_column(String(18))
    cidr_association_id: Mapped[str] = mapped_column(ResourceId)
    dhcp_options_id: Mapped[str] = mapped_column(ResourceId)
    vni: Mapped[int] = mapped_column(Integer, unique=True)
    is_default: Mapped[bool] = mapped_column(default=False)
    dns_support: Mapped[bool] = mapped_column(default=True)
    dns_hostnames: Mapped[bool] = mapped_column(default=False)
    created: Mapped[datetime]


class Subnet(Base):
    """A block of a VPC's addresses in one zone; `internet` tells that its routes lead to an internet gateway."""

    __tablename__ = "subnets"
    __table_args__ = (Index("ix_subnets_account_id_id", "account_id", "id"),)

    id: Mapped[str] = mapped_column(ResourceId, primary_key=True)
    account_id: Mapped[str] = mapped_column(AccountId)
    vpc_id: Mapped[str] = mapped_column(ForeignKey("vpcs.id"), index=True)
    cidr_block: Mapped[str] = mapped_column(String(18))
    zone: Mapped[str] = mapped_column(String(64))
    default_for_zone: Mapped[bool] = mapped_column(default=False)
    map_public_address: Mapped[bool] = mapped_column(default=False)
    internet: Mapped[bool] = mapped_column(default=False)
    next_offset: Mapped[int] = mapped_column(Integer, default=4)  # where the search for a free address goes on
    created: Mapped[datetime]

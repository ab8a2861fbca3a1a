"""VPCs and the CIDR blocks associated with them."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, Integer, String, false, text
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base, partial_index
from stead_controller.db.types import AccountId, ResourceId


class Vpc(Base):
    """A private network; `vni` numbers it on the wire between hosts.

    `cidr_block` is the primary IPv4 block, which has a row in `VpcCidrBlock` like all others. `dhcp_options_id` is
    `default` where no set of options is associated.
    """

    __tablename__ = "vpcs"
    __table_args__ = (Index("ix_vpcs_account_id_id", "account_id", "id", unique=True),)

    id: Mapped[str] = mapped_column(ResourceId, primary_key=True)
    account_id: Mapped[str] = mapped_column(AccountId)
    cidr_block: Mapped[str] = mapped_column(String(18))
    dhcp_options_id: Mapped[str] = mapped_column(ResourceId, index=True)
    vni: Mapped[int] = mapped_column(Integer, unique=True)
    is_default: Mapped[bool] = mapped_column(default=False)
    instance_tenancy: Mapped[str] = mapped_column(String(16), default="default", server_default="default")
    dns_support: Mapped[bool] = mapped_column(default=True)
    dns_hostnames: Mapped[bool] = mapped_column(default=False)
    address_usage_metrics: Mapped[bool] = mapped_column(default=False, server_default=false())
    created: Mapped[datetime]


class VpcCidrBlock(Base):
    """A block of addresses that is associated with a VPC; no two VPCs have the same IPv6 block."""

    __tablename__ = "vpc_cidr_blocks"
    __table_args__ = (
        Index("ix_vpc_cidr_blocks_account_id_id", "account_id", "id", unique=True),
        Index("ix_vpc_cidr_blocks_vpc", "vpc_id", "cidr_block", unique=True),
        partial_index(
            "ix_vpc_cidr_blocks_ipv6",
            "cidr_block",
            unique=True,
            where=text("ipv6"),
        ),
    )

    id: Mapped[str] = mapped_column(ResourceId, primary_key=True)  # of the association
    account_id: Mapped[str] = mapped_column(AccountId)
    vpc_id: Mapped[str] = mapped_column(ForeignKey("vpcs.id", ondelete="CASCADE"))
    cidr_block: Mapped[str] = mapped_column(String(43))
    ipv6: Mapped[bool]
    created: Mapped[datetime]

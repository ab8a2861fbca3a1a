"""Subnets."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, Integer, String, false
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base
from stead_controller.db.types import AccountId, ResourceId


class Subnet(Base):
    """A block of a VPC's addresses in one zone and perhaps a /64 of its IPv6 addresses, or such a /64 only.

    The tenancy of its VPC is repeated here, since each launch needs it.
    """

    __tablename__ = "subnets"
    __table_args__ = (
        Index("ix_subnets_account_id_id", "account_id", "id", unique=True),
        Index("ix_subnets_account_id_ipv6_association_id", "account_id", "ipv6_association_id", unique=True),
        # With the id it is not narrower than the account's, so SQLite never prefers it (FAULTS 40).
        Index("ix_subnets_vpc_id", "vpc_id", "id"),
        Index("ix_subnets_vpc_ipv6", "vpc_id", "ipv6_cidr_block", unique=True),
    )

    id: Mapped[str] = mapped_column(ResourceId, primary_key=True)
    account_id: Mapped[str] = mapped_column(AccountId)
    vpc_id: Mapped[str] = mapped_column(ForeignKey("vpcs.id"))
    cidr_block: Mapped[str | None] = mapped_column(String(18))  # None: IPv6 only
    ipv6_cidr_block: Mapped[str | None] = mapped_column(String(43))
    ipv6_association_id: Mapped[str | None] = mapped_column(ResourceId)
    zone: Mapped[str] = mapped_column(String(64))
    instance_tenancy: Mapped[str] = mapped_column(String(16), default="default", server_default="default")
    default_for_zone: Mapped[bool] = mapped_column(default=False)
    map_public_address: Mapped[bool] = mapped_column(default=False)
    assign_ipv6_address: Mapped[bool] = mapped_column(default=False, server_default=false())
    dns64: Mapped[bool] = mapped_column(default=False, server_default=false())
    hostname_type: Mapped[str] = mapped_column(String(16), default="ip-name", server_default="ip-name")
    resource_name_a_record: Mapped[bool] = mapped_column(default=False, server_default=false())
    resource_name_aaaa_record: Mapped[bool] = mapped_column(default=False, server_default=false())
    has_reservations: Mapped[bool] = mapped_column(default=False, server_default=false())
    next_turn: Mapped[int] = mapped_column(Integer, default=0)  # where the search for a free address continues
    created: Mapped[datetime]

"""CIDR blocks that were disassociated from VPCs and subnets and are still shown for a while."""

from datetime import datetime

from sqlalchemy import Index, String
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base
from stead_controller.db.types import AccountId, ResourceId


class EndedCidrBlock(Base):
    """An association, by its id, of a block with a VPC or a subnet (`resource_id`) that has ended."""

    __tablename__ = "ended_cidr_blocks"
    __table_args__ = (
        Index("ix_ended_cidr_blocks_account_id_id", "account_id", "id", unique=True),
        Index("ix_ended_cidr_blocks_resource_id", "resource_id"),
    )

    id: Mapped[str] = mapped_column(ResourceId, primary_key=True)
    account_id: Mapped[str] = mapped_column(AccountId)
    resource_id: Mapped[str] = mapped_column(ResourceId)
    cidr_block: Mapped[str] = mapped_column(String(43))
    ipv6: Mapped[bool]
    ended: Mapped[datetime] = mapped_column(index=True)

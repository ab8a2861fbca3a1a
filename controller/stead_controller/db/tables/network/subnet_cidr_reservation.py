"""Reserved blocks of subnets' addresses."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base
from stead_controller.db.types import AccountId, ResourceId


class SubnetCidrReservation(Base):
    """A block of a subnet's addresses that interfaces get only when a request names them."""

    __tablename__ = "subnet_cidr_reservations"
    __table_args__ = (
        Index("ix_subnet_cidr_reservations_account_id_id", "account_id", "id", unique=True),
        Index("ix_subnet_cidr_reservations_subnet_id_cidr_block", "subnet_id", "cidr_block", unique=True),
    )

    id: Mapped[str] = mapped_column(ResourceId, primary_key=True)
    account_id: Mapped[str] = mapped_column(AccountId)
    subnet_id: Mapped[str] = mapped_column(ForeignKey("subnets.id"))
    cidr_block: Mapped[str] = mapped_column(String(43))
    ipv6: Mapped[bool]
    reservation_type: Mapped[str] = mapped_column(String(16))
    description: Mapped[str | None] = mapped_column(String(255))
    created: Mapped[datetime]

"""VPC peering connections."""

from datetime import datetime

from sqlalchemy import Index, String
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base
from stead_controller.db.types import AccountId, ResourceId


class VpcPeeringConnection(Base):
    """A connection between two VPCs, perhaps of two accounts; `account_id` is the requester's.

    Rows are retained after their VPCs for a while, so that both sides see how the connection ended: no foreign keys.
    """

    __tablename__ = "vpc_peering_connections"
    __table_args__ = (
        Index("ix_vpc_peering_connections_account_id_id", "account_id", "id", unique=True),
        Index("ix_vpc_peering_connections_accepter", "accepter_account_id", "id", unique=True),
        Index("ix_vpc_peering_connections_due", "status", "expires", "ended"),
    )

    id: Mapped[str] = mapped_column(ResourceId, primary_key=True)
    account_id: Mapped[str] = mapped_column(AccountId)
    accepter_account_id: Mapped[str] = mapped_column(AccountId)
    requester_vpc_id: Mapped[str] = mapped_column(ResourceId, index=True)
    accepter_vpc_id: Mapped[str] = mapped_column(ResourceId, index=True)
    status: Mapped[str] = mapped_column(String(24))  # pending-acceptance, active, rejected, expired, failed, deleted
    message: Mapped[str] = mapped_column(String(255))
    requester_dns: Mapped[bool] = mapped_column(default=False)  # requester's VPC resolves its names for accepter's
    accepter_dns: Mapped[bool] = mapped_column(default=False)
    created: Mapped[datetime]
    expires: Mapped[datetime | None]  # while it is pending
    ended: Mapped[datetime | None]  # when it was rejected, expired, failed or deleted

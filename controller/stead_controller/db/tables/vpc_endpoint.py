"""VPC endpoints."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base
from stead_controller.db.types import AccountId, ResourceId


class VpcEndpoint(Base):
    """A way from a VPC to a service of this cloud; the route tables of a gateway endpoint are those with a route to it.

    `policy` is None for the default one, by which everything is allowed.
    """

    __tablename__ = "vpc_endpoints"
    __table_args__ = (Index("ix_vpc_endpoints_account_id_id", "account_id", "id", unique=True),)

    id: Mapped[str] = mapped_column(ResourceId, primary_key=True)
    account_id: Mapped[str] = mapped_column(AccountId)
    vpc_id: Mapped[str] = mapped_column(ForeignKey("vpcs.id"), index=True)
    service: Mapped[str] = mapped_column(String(64))  # such as com.amazonaws.us-east-1.s3
    endpoint_type: Mapped[str] = mapped_column(String(24))  # Gateway
    state: Mapped[str] = mapped_column(String(24))  # available
    policy: Mapped[str | None] = mapped_column(Text)
    created: Mapped[datetime]

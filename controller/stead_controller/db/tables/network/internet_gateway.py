"""Internet gateways and egress-only internet gateways."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base
from stead_controller.db.types import AccountId, ResourceId


class InternetGateway(Base):
    """A VPC's connection to the internet; a VPC has at most one, and a gateway is attached to at most one VPC."""

    __tablename__ = "internet_gateways"
    __table_args__ = (
        Index("ix_internet_gateways_account_id_id", "account_id", "id", unique=True),
        Index("ix_internet_gateways_vpc_id", "vpc_id", unique=True),
    )

    id: Mapped[str] = mapped_column(ResourceId, primary_key=True)
    account_id: Mapped[str] = mapped_column(AccountId)
    vpc_id: Mapped[str | None] = mapped_column(ForeignKey("vpcs.id"))
    created: Mapped[datetime]


class EgressOnlyInternetGateway(Base):
    """A connection to the IPv6 internet for flows that begin in the VPC."""

    __tablename__ = "egress_only_internet_gateways"
    __table_args__ = (Index("ix_egress_only_internet_gateways_account_id_id", "account_id", "id", unique=True),)

    id: Mapped[str] = mapped_column(ResourceId, primary_key=True)
    account_id: Mapped[str] = mapped_column(AccountId)
    vpc_id: Mapped[str] = mapped_column(ForeignKey("vpcs.id"), index=True)
    created: Mapped[datetime]

"""NAT gateways."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base
from stead_controller.db.types import AccountId, ResourceId


class NatGateway(Base):
    """A NAT gateway on its home host; its addresses are still shown when its interface is gone."""

    __tablename__ = "nat_gateways"
    __table_args__ = (
        Index("ix_nat_gateways_account_id_id", "account_id", "id", unique=True),
        Index("ix_nat_gateways_subnet_id", "subnet_id"),
        Index("ix_nat_gateways_vpc_id", "vpc_id"),
        Index("ix_nat_gateways_state_changed", "state", "state_changed"),
    )

    id: Mapped[str] = mapped_column(ResourceId, primary_key=True)
    account_id: Mapped[str] = mapped_column(AccountId)
    vpc_id: Mapped[str] = mapped_column(ResourceId)
    subnet_id: Mapped[str] = mapped_column(ResourceId)
    connectivity: Mapped[str] = mapped_column(String(16))  # public, private
    state: Mapped[str] = mapped_column(String(16))  # pending, available, failed, deleting, deleted
    state_changed: Mapped[datetime]
    created: Mapped[datetime]
    deleted: Mapped[datetime | None]
    failure_code: Mapped[str] = mapped_column(String(64), default="")
    failure_message: Mapped[str] = mapped_column(String(512), default="")
    host_id: Mapped[str | None] = mapped_column(ForeignKey("hosts.id"), index=True)
    host_error: Mapped[str] = mapped_column(String(2048), default="")  # the agent's last error, for operators
    interface_id: Mapped[str | None] = mapped_column(ResourceId, index=True)
    private_address: Mapped[str | None] = mapped_column(String(45))
    public_address: Mapped[str | None] = mapped_column(String(45))
    allocation_id: Mapped[str | None] = mapped_column(ResourceId)
    association_id: Mapped[str | None] = mapped_column(ResourceId)

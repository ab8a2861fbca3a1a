"""The private addresses of network interfaces, primary and secondary, IPv4 and IPv6."""

from sqlalchemy import ForeignKey, Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base


class InterfaceAddress(Base):
    """A private address of an interface: the key ensures that no two in a subnet have the same.

    Each interface has one row with `primary`, which repeats its own `private_address`, unless it has none. The
    interface may be added after its addresses in the same transaction.
    """

    __tablename__ = "interface_addresses"
    __table_args__ = (Index("ix_interface_addresses_address", "address"),)

    subnet_id: Mapped[str] = mapped_column(ForeignKey("subnets.id"), primary_key=True)
    address: Mapped[str] = mapped_column(String(45), primary_key=True)
    interface_id: Mapped[str] = mapped_column(
        ForeignKey("network_interfaces.id", ondelete="CASCADE", deferrable=True, initially="DEFERRED"), index=True
    )
    ipv6: Mapped[bool] = mapped_column(default=False)
    primary: Mapped[bool] = mapped_column(default=False)
    position: Mapped[int] = mapped_column(Integer, default=0, server_default="0")  # among the interface's addresses

"""Network interfaces, their groups, and the public addresses in use."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, Integer, String, UniqueConstraint, false
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base
from stead_controller.db.types import AccountId, ResourceId


class NetworkInterface(Base):
    """An interface; no two share an address, and no two in the whole cloud a MAC."""

    __tablename__ = "network_interfaces"
    __table_args__ = (
        UniqueConstraint("subnet_id", "private_address"),
        UniqueConstraint("mac_address"),
        Index("ix_network_interfaces_account_id_id", "account_id", "id", unique=True),
        Index("ix_network_interfaces_instance_id", "instance_id"),
        Index("ix_network_interfaces_account_id_instance_id", "account_id", "instance_id"),
        Index("ix_network_interfaces_account_id_attachment_id", "account_id", "attachment_id", unique=True),
        Index("ix_network_interfaces_host", "host_id", "vpc_id"),
    )

    id: Mapped[str] = mapped_column(ResourceId, primary_key=True)
    account_id: Mapped[str] = mapped_column(AccountId)
    vpc_id: Mapped[str] = mapped_column(ForeignKey("vpcs.id"), index=True)
    subnet_id: Mapped[str] = mapped_column(ForeignKey("subnets.id"))
    zone: Mapped[str] = mapped_column(String(64))
    description: Mapped[str] = mapped_column(String(255), default="")
    mac_address: Mapped[str] = mapped_column(String(17))
    private_address: Mapped[str | None] = mapped_column(String(45))  # None: it has only IPv6 addresses
    source_dest_check: Mapped[bool] = mapped_column(default=True)
    status: Mapped[str] = mapped_column(String(16))  # available, in-use
    requester_managed: Mapped[bool] = mapped_column(default=False)
    requester_id: Mapped[str | None] = mapped_column(String(128))  # the caller, as STS names it; None for old rows
    created: Mapped[datetime]
    host_id: Mapped[str | None] = mapped_column(ForeignKey("hosts.id"))
    instance_id: Mapped[str | None] = mapped_column(ResourceId)
    attachment_id: Mapped[str | None] = mapped_column(ResourceId)
    device_index: Mapped[int | None] = mapped_column(Integer)
    attachment_state: Mapped[str | None] = mapped_column(String(16))
    attach_time: Mapped[datetime | None]
    delete_on_termination: Mapped[bool] = mapped_column(default=False)
    interface_type: Mapped[str] = mapped_column(String(32), default="interface")  # nat_gateway, vpc_endpoint
    nat_gateway_id: Mapped[str | None] = mapped_column(ResourceId)
    # Its first IPv6 address, by `InterfaceAddress.position`, is its primary one and cannot be unassigned.
    primary_ipv6: Mapped[bool] = mapped_column(default=False, server_default=false())
    associate_public_address: Mapped[bool] = mapped_column(default=False)  # from the pool while its instance runs
    # Idle seconds after which a tracked connection is forgotten; None = EC2's default.
    tcp_established_timeout: Mapped[int | None] = mapped_column(Integer)
    udp_timeout: Mapped[int | None] = mapped_column(Integer)
    udp_stream_timeout: Mapped[int | None] = mapped_column(Integer)


class InterfaceGroup(Base):
    """The membership of an interface in a security group."""

    __tablename__ = "interface_groups"

    interface_id: Mapped[str] = mapped_column(ForeignKey("network_interfaces.id", ondelete="CASCADE"), primary_key=True)
    group_id: Mapped[str] = mapped_column(ForeignKey("security_groups.id"), primary_key=True, index=True)


class PublicAddress(Base):
    """A public address in use or cooling down; an address without a row is free.

    With an allocation it is an Elastic IP address, otherwise it was assigned automatically.
    """

    __tablename__ = "public_addresses"
    __table_args__ = (
        Index("ix_public_addresses_allocation_id", "allocation_id", unique=True),
        Index("ix_public_addresses_account_id_association_id", "account_id", "association_id", unique=True),
        Index("ix_public_addresses_private", "interface_id", "private_address", unique=True),
    )

    address: Mapped[str] = mapped_column(String(45), primary_key=True)
    account_id: Mapped[str] = mapped_column(AccountId)
    interface_id: Mapped[str | None] = mapped_column(ForeignKey("network_interfaces.id", ondelete="SET NULL"))
    private_address: Mapped[str | None] = mapped_column(String(45))
    released: Mapped[datetime | None] = mapped_column(index=True)  # not assigned again for a while
    allocation_id: Mapped[str | None] = mapped_column(ResourceId)
    association_id: Mapped[str | None] = mapped_column(ResourceId)

"""VPC endpoints, and the interfaces in subnets and security groups of interface endpoints."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, Text, false
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base
from stead_controller.db.types import AccountId, ResourceId


class VpcEndpoint(Base):
    """A connection of a VPC to a service of this cloud; gateway endpoints' route tables are those with a route to it.

    `policy` is None for the default one, which allows everything.
    """

    __tablename__ = "vpc_endpoints"
    __table_args__ = (Index("ix_vpc_endpoints_account_id_id", "account_id", "id", unique=True),)

    id: Mapped[str] = mapped_column(ResourceId, primary_key=True)
    account_id: Mapped[str] = mapped_column(AccountId)
    vpc_id: Mapped[str] = mapped_column(ForeignKey("vpcs.id"), index=True)
    service: Mapped[str] = mapped_column(String(64))  # such as com.amazonaws.us-east-1.s3
    endpoint_type: Mapped[str] = mapped_column(String(24))  # Gateway, Interface
    state: Mapped[str] = mapped_column(String(24))  # available; of interface endpoints also pending, deleting
    policy: Mapped[str | None] = mapped_column(Text)
    created: Mapped[datetime]
    private_dns: Mapped[bool] = mapped_column(default=False)  # the service's own name resolves to it in the VPC
    # … only for resolvers outside of the VPC, whose guests use a gateway endpoint.
    private_dns_only_inbound: Mapped[bool] = mapped_column(default=False, server_default=false())


class VpcEndpointInterface(Base):
    """The interface of an interface endpoint in one of its subnets, on its home host; without a host it waits for one.

    While it is deleting, its address is not free: the host has not yet reported that it is removed.
    """

    __tablename__ = "vpc_endpoint_interfaces"

    interface_id: Mapped[str] = mapped_column(ResourceId, primary_key=True)
    endpoint_id: Mapped[str] = mapped_column(ForeignKey("vpc_endpoints.id"), index=True)
    subnet_id: Mapped[str] = mapped_column(ForeignKey("subnets.id"), index=True)
    zone: Mapped[str] = mapped_column(String(64))
    host_id: Mapped[str | None] = mapped_column(ForeignKey("hosts.id"), index=True)
    state: Mapped[str] = mapped_column(String(16), index=True)  # pending, available, deleting
    host_error: Mapped[str] = mapped_column(String(2048), default="")  # the agent's last error


class VpcEndpointGroup(Base):
    """The membership of an interface endpoint's interfaces, now and later, in a security group."""

    __tablename__ = "vpc_endpoint_groups"

    endpoint_id: Mapped[str] = mapped_column(ForeignKey("vpc_endpoints.id", ondelete="CASCADE"), primary_key=True)
    group_id: Mapped[str] = mapped_column(ForeignKey("security_groups.id"), primary_key=True, index=True)

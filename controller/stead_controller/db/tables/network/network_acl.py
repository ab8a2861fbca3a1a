"""Network ACLs, their entries, and which subnet each is associated with."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base
from stead_controller.db.types import AccountId, ResourceId


class NetworkAcl(Base):
    """An ordered list of stateless rules; each VPC has exactly one default ACL."""

    __tablename__ = "network_acls"
    __table_args__ = (Index("ix_network_acls_account_id_id", "account_id", "id", unique=True),)

    id: Mapped[str] = mapped_column(ResourceId, primary_key=True)
    account_id: Mapped[str] = mapped_column(AccountId)
    vpc_id: Mapped[str] = mapped_column(ForeignKey("vpcs.id", ondelete="CASCADE"), index=True)
    is_default: Mapped[bool] = mapped_column(default=False)
    created: Mapped[datetime]


class NetworkAclEntry(Base):
    """One rule: the lowest number that matches decides; numbers above 32766 are the final denials, never changed.

    `protocol` is a number, or -1 for all; ports are set for TCP and UDP only, ICMP type and code (-1 = any) for ICMP
    only; exactly one of the two blocks is set.
    """

    __tablename__ = "network_acl_entries"

    acl_id: Mapped[str] = mapped_column(ForeignKey("network_acls.id", ondelete="CASCADE"), primary_key=True)
    egress: Mapped[bool] = mapped_column(primary_key=True)
    rule_number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    protocol: Mapped[str] = mapped_column(String(3))
    allow: Mapped[bool]
    cidr_ipv4: Mapped[str | None] = mapped_column(String(18))
    cidr_ipv6: Mapped[str | None] = mapped_column(String(43))
    from_port: Mapped[int | None] = mapped_column(Integer)
    to_port: Mapped[int | None] = mapped_column(Integer)
    icmp_type: Mapped[int | None] = mapped_column(Integer)
    icmp_code: Mapped[int | None] = mapped_column(Integer)


class NetworkAclAssociation(Base):
    """The association of a subnet with an ACL; each subnet has exactly one."""

    __tablename__ = "network_acl_associations"
    __table_args__ = (Index("ix_network_acl_associations_account_id_id", "account_id", "id", unique=True),)

    id: Mapped[str] = mapped_column(ResourceId, primary_key=True)
    account_id: Mapped[str] = mapped_column(AccountId)
    acl_id: Mapped[str] = mapped_column(ForeignKey("network_acls.id"), index=True)
    subnet_id: Mapped[str] = mapped_column(ForeignKey("subnets.id", ondelete="CASCADE"), unique=True)

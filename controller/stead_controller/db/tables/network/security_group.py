"""Security groups and their rules."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, Integer, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base
from stead_controller.db.types import AccountId, ResourceId


class SecurityGroup(Base):
    """A named set of rules in a VPC."""

    __tablename__ = "security_groups"
    __table_args__ = (
        UniqueConstraint("vpc_id", "name"),
        Index("ix_security_groups_account_id_id", "account_id", "id", unique=True),
    )

    id: Mapped[str] = mapped_column(ResourceId, primary_key=True)
    account_id: Mapped[str] = mapped_column(AccountId)
    vpc_id: Mapped[str] = mapped_column(ForeignKey("vpcs.id"))
    name: Mapped[str] = mapped_column(String(255))
    description: Mapped[str] = mapped_column(String(255))
    created: Mapped[datetime]


class SecurityGroupRule(Base):
    """One rule with one peer: exactly one of the four peer columns is set; -1 means any protocol, port or type.

    A peer group of another VPC is stored with its account, its VPC and the peering connection to it; the rule remains,
    stale, when that group or that connection is gone, so `peer_group_id` is no foreign key.
    """

    __tablename__ = "security_group_rules"
    __table_args__ = (Index("ix_security_group_rules_account_id_id", "account_id", "id", unique=True),)

    id: Mapped[str] = mapped_column(ResourceId, primary_key=True)
    account_id: Mapped[str] = mapped_column(AccountId)
    group_id: Mapped[str] = mapped_column(ForeignKey("security_groups.id", ondelete="CASCADE"), index=True)
    egress: Mapped[bool]
    protocol: Mapped[str] = mapped_column(String(8))
    from_port: Mapped[int] = mapped_column(Integer)
    to_port: Mapped[int] = mapped_column(Integer)
    cidr_ipv4: Mapped[str | None] = mapped_column(String(18))
    cidr_ipv6: Mapped[str | None] = mapped_column(String(43))
    peer_group_id: Mapped[str | None] = mapped_column(ResourceId, index=True)
    peer_account_id: Mapped[str | None] = mapped_column(AccountId)  # None: the rule's own account
    peer_vpc_id: Mapped[str | None] = mapped_column(ResourceId)  # None: the group's own VPC
    peering_id: Mapped[str | None] = mapped_column(ResourceId, index=True)
    prefix_list_id: Mapped[str | None] = mapped_column(ForeignKey("prefix_lists.id"), index=True)
    description: Mapped[str | None] = mapped_column(String(255))

"""Route tables, what they are associated with, and their routes."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base, partial_index
from stead_controller.db.types import AccountId, ResourceId


class RouteTable(Base):
    """A set of routes of a VPC; its local routes are not stored: they follow from the VPC's blocks."""

    __tablename__ = "route_tables"
    __table_args__ = (Index("ix_route_tables_account_id_id", "account_id", "id", unique=True),)

    id: Mapped[str] = mapped_column(ResourceId, primary_key=True)
    account_id: Mapped[str] = mapped_column(AccountId)
    vpc_id: Mapped[str] = mapped_column(ForeignKey("vpcs.id"), index=True)
    created: Mapped[datetime]


class RouteTableAssociation(Base):
    """The association of a subnet with a route table; without a subnet: the table is the VPC's main one.

    Each subnet has at most one, each VPC exactly one main table.
    """

    __tablename__ = "route_table_associations"
    __table_args__ = (
        Index("ix_route_table_associations_account_id_id", "account_id", "id", unique=True),
        Index("ix_route_table_associations_subnet_id", "subnet_id", unique=True),
        partial_index(
            "ix_route_table_associations_main",
            "vpc_id",
            unique=True,
            where=text("subnet_id IS NULL"),
        ),
    )

    id: Mapped[str] = mapped_column(ResourceId, primary_key=True)
    account_id: Mapped[str] = mapped_column(AccountId)
    route_table_id: Mapped[str] = mapped_column(ForeignKey("route_tables.id"), index=True)
    vpc_id: Mapped[str] = mapped_column(ForeignKey("vpcs.id"))
    subnet_id: Mapped[str | None] = mapped_column(ForeignKey("subnets.id"))


class Route(Base):
    """One route of a table: a destination in its canonical form, and the id of its target.

    `family` is `ipv4`, `ipv6` or `prefix-list`; `target_type` is the resource type of the target as in
    `catalog/nouns.py`. The target may be gone: then the route is a blackhole.
    """

    __tablename__ = "routes"

    route_table_id: Mapped[str] = mapped_column(ForeignKey("route_tables.id", ondelete="CASCADE"), primary_key=True)
    destination: Mapped[str] = mapped_column(String(64), primary_key=True, index=True)
    vpc_id: Mapped[str] = mapped_column(ResourceId, index=True)
    family: Mapped[str] = mapped_column(String(16))
    target_type: Mapped[str] = mapped_column(String(40))
    target_id: Mapped[str] = mapped_column(ResourceId, index=True)
    created: Mapped[datetime]

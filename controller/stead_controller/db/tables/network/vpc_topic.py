"""The state of each VPC that all its subscribed hosts are sent, and which hosts those are."""

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base
from stead_controller.db.types import ResourceId


class VpcResource(Base):
    """The topic of a VPC: one row per part of it, at the revision of its last change.

    `body` is a serialized `stead.v1.Resource`; NULL means that the part is gone, and the row is retained until no host
    can have the part any more. The topic is retained that long after its VPC, so it refers to nothing.
    """

    __tablename__ = "vpc_resources"
    __table_args__ = (
        Index("ix_vpc_resources_vpc_revision", "vpc_id", "revision"),
        Index("ix_vpc_resources_revision", "revision"),
    )

    vpc_id: Mapped[str] = mapped_column(ResourceId, primary_key=True)
    kind: Mapped[int] = mapped_column(Integer, primary_key=True)
    resource_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    revision: Mapped[int] = mapped_column(BigInteger)
    body: Mapped[bytes | None]


class VpcHost(Base):
    """A host's subscription to a VPC's topic, since a revision; with `gone_revision` the host must remove all of it."""

    __tablename__ = "vpc_hosts"
    __table_args__ = (
        Index("ix_vpc_hosts_since_revision", "since_revision"),
        Index("ix_vpc_hosts_gone_revision", "gone_revision"),
        Index("ix_vpc_hosts_vpc_id", "vpc_id"),
    )

    host_id: Mapped[str] = mapped_column(ForeignKey("hosts.id", ondelete="CASCADE"), primary_key=True)
    vpc_id: Mapped[str] = mapped_column(ResourceId, primary_key=True)
    since_revision: Mapped[int] = mapped_column(BigInteger)
    gone_revision: Mapped[int | None] = mapped_column(BigInteger)

"""Resources of hosts unknown to this database, restored from an older copy: what they use is not assigned again."""

from sqlalchemy import BigInteger, ForeignKey, ForeignKeyConstraint, Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base
from stead_controller.db.types import ResourceId


class UnclaimedResource(Base):
    """A resource that a host keeps, and the capacity that it uses there; `disk`, in bytes, is of the host's `pool`.

    `said` is the host's message `stead.v1.Unclaimed` if that has the resource itself, by which it can be adopted.
    """

    __tablename__ = "unclaimed_resources"

    host_id: Mapped[str] = mapped_column(ForeignKey("hosts.id", ondelete="CASCADE"), primary_key=True)
    kind: Mapped[int] = mapped_column(Integer, primary_key=True)
    resource_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    vcpus: Mapped[int] = mapped_column(Integer)
    memory: Mapped[int] = mapped_column(BigInteger)
    disk: Mapped[int] = mapped_column(BigInteger)
    pool: Mapped[str] = mapped_column(String(64))
    said: Mapped[bytes | None]


class UnclaimedAddress(Base):
    """An address of such an interface: a private one in its subnet, a public one or a MAC with the place ""."""

    __tablename__ = "unclaimed_addresses"
    __table_args__ = (
        ForeignKeyConstraint(
            ["host_id", "kind", "resource_id"],
            ["unclaimed_resources.host_id", "unclaimed_resources.kind", "unclaimed_resources.resource_id"],
            ondelete="CASCADE",
        ),
        Index("ix_unclaimed_addresses_place_address", "place", "address"),
    )

    host_id: Mapped[str] = mapped_column(ResourceId, primary_key=True)
    kind: Mapped[int] = mapped_column(Integer, primary_key=True)
    resource_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    place: Mapped[str] = mapped_column(String(64), primary_key=True)
    address: Mapped[str] = mapped_column(String(45), primary_key=True)

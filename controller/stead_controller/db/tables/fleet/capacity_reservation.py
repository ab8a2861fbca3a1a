"""Capacity reservations, and the slots that each has on hosts."""

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, String, text
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base, partial_index
from stead_controller.db.types import AccountId, ResourceId

_ACTIVE = text("state = 'active'")
_ENDED = text("ended IS NOT NULL")


class CapacityReservation(Base):
    """Room for instances of one type in one zone; while it is active, its slots hold that room on hosts.

    `vcpus`, `memory` and `instance_store` (bytes) are what a slot takes of its host: as much as any instance of the
    type, whatever its firmware.
    """

    __tablename__ = "capacity_reservations"
    __table_args__ = (
        # Only rows of active ones are in these indexes: each launch looks here.
        partial_index(
            "ix_capacity_reservations_account_active",
            "account_id",
            "instance_type",
            "zone",
            where=_ACTIVE,
        ),
        partial_index("ix_capacity_reservations_end_date", "end_date", where=_ACTIVE),
        partial_index("ix_capacity_reservations_ended", "ended", where=_ENDED),
        Index("ix_capacity_reservations_account_id_id", "account_id", "id", unique=True),
    )

    id: Mapped[str] = mapped_column(ResourceId, primary_key=True)
    account_id: Mapped[str] = mapped_column(AccountId)
    instance_type: Mapped[str] = mapped_column(String(32))
    platform: Mapped[str] = mapped_column(String(64))
    architecture: Mapped[str] = mapped_column(String(16))
    zone: Mapped[str] = mapped_column(String(64))
    instance_count: Mapped[int] = mapped_column(Integer)
    match_criteria: Mapped[str] = mapped_column(String(8))  # open, targeted
    ebs_optimized: Mapped[bool]
    vcpus: Mapped[int] = mapped_column(Integer)
    memory: Mapped[int] = mapped_column(BigInteger)
    instance_store: Mapped[int] = mapped_column(BigInteger)
    state: Mapped[str] = mapped_column(String(16))  # active, cancelled, expired, failed
    created: Mapped[datetime]
    end_date: Mapped[datetime | None]  # None: it is active until it is cancelled
    ended: Mapped[datetime | None]  # since when it is not active


class CapacityReservationSlots(Base):
    """How many slots an active reservation has on a host, and how many of these have an instance."""

    __tablename__ = "capacity_reservation_slots"
    __table_args__ = (Index("ix_capacity_reservation_slots_host", "host_id"),)

    reservation_id: Mapped[str] = mapped_column(
        ForeignKey("capacity_reservations.id", ondelete="CASCADE"), primary_key=True
    )
    host_id: Mapped[str] = mapped_column(ForeignKey("hosts.id"), primary_key=True)
    slots: Mapped[int] = mapped_column(Integer)
    used: Mapped[int] = mapped_column(Integer, default=0)

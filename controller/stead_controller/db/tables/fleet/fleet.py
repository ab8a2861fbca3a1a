"""Fleets: what was launched together, by several ways."""

from datetime import datetime

from sqlalchemy import JSON, Float, ForeignKey, Index, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base
from stead_controller.db.types import AccountId, ResourceId


class Fleet(Base):
    """An instant fleet: `config` is the JSON of its request, `failures` are of the pools that could not be launched."""

    __tablename__ = "fleets"
    __table_args__ = (
        Index("ix_fleets_account_id_deleted", "account_id", "deleted"),
        Index("ix_fleets_account_id_id", "account_id", "id", unique=True),
    )

    id: Mapped[str] = mapped_column(ResourceId, primary_key=True)
    account_id: Mapped[str] = mapped_column(AccountId)
    created: Mapped[datetime]
    deleted: Mapped[datetime | None]
    client_token: Mapped[str] = mapped_column(String(64))
    target: Mapped[int] = mapped_column(Integer)  # units, with those of Spot Instances
    spot_target: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    fulfilled: Mapped[float] = mapped_column(Float)  # units, at its creation, with those of Spot Instances
    spot_fulfilled: Mapped[float] = mapped_column(Float, default=0.0, server_default="0")
    config: Mapped[str] = mapped_column(Text)
    failures: Mapped[list[list[object]]] = mapped_column(JSON)  # number of the pool, code, message, spot


class FleetInstance(Base):
    """An instance of a fleet, and the number of the pool by which it was launched."""

    __tablename__ = "fleet_instances"

    fleet_id: Mapped[str] = mapped_column(ForeignKey("fleets.id", ondelete="CASCADE"), primary_key=True)
    instance_id: Mapped[str] = mapped_column(
        ForeignKey("instances.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    pool: Mapped[int] = mapped_column(Integer)

"""Placement groups."""

from datetime import datetime

from sqlalchemy import Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base
from stead_controller.db.types import AccountId, ResourceId


class PlacementGroup(Base):
    """A placement group by name; `partition_count` is for strategy partition, `spread_level` for strategy spread."""

    __tablename__ = "placement_groups"
    __table_args__ = (
        UniqueConstraint("account_id", "name"),
        Index("ix_placement_groups_account_id_id", "account_id", "id", unique=True),
    )

    id: Mapped[str] = mapped_column(ResourceId, primary_key=True)
    account_id: Mapped[str] = mapped_column(AccountId)
    name: Mapped[str] = mapped_column(String(255))
    strategy: Mapped[str] = mapped_column(String(16))  # cluster, spread, partition
    partition_count: Mapped[int | None]
    spread_level: Mapped[str | None] = mapped_column(String(8))  # host, rack
    created: Mapped[datetime]

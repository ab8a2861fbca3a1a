"""Elastic IP addresses."""

from datetime import datetime

from sqlalchemy import Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base
from stead_controller.db.types import AccountId, ResourceId


class ElasticAddress(Base):
    """A public address allocated to an account; its association is in the row of `public_addresses`."""

    __tablename__ = "elastic_addresses"
    __table_args__ = (
        UniqueConstraint("address"),
        Index("ix_elastic_addresses_account_id_id", "account_id", "id", unique=True),
    )

    id: Mapped[str] = mapped_column(ResourceId, primary_key=True)
    account_id: Mapped[str] = mapped_column(AccountId)
    address: Mapped[str] = mapped_column(String(45))
    created: Mapped[datetime]

"""Requests for Spot Instances."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base
from stead_controller.db.types import AccountId, ResourceId


class SpotRequest(Base):
    """The one-time request by which a Spot Instance was launched; it is forgotten with its instance.

    What changes about it follows from the instance, but for `cancelled`.
    """

    __tablename__ = "spot_requests"
    __table_args__ = (
        Index("ix_spot_requests_account_instance", "account_id", "instance_id", unique=True),
        Index("ix_spot_requests_account_id_id", "account_id", "id", unique=True),
    )

    id: Mapped[str] = mapped_column(ResourceId, primary_key=True)
    account_id: Mapped[str] = mapped_column(AccountId)
    instance_id: Mapped[str] = mapped_column(ForeignKey("instances.id", ondelete="CASCADE"), index=True)
    created: Mapped[datetime]
    cancelled: Mapped[datetime | None]

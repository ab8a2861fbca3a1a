"""What accounts want of sharing images and snapshots with everybody."""

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base
from stead_controller.db.types import AccountId


class PublicSharing(Base):
    """One row per account that has ever set anything; what is blocked of each, as EC2 names it."""

    __tablename__ = "public_sharing"

    account_id: Mapped[str] = mapped_column(AccountId, primary_key=True)
    images: Mapped[str] = mapped_column(String(24), default="unblocked")
    snapshots: Mapped[str] = mapped_column(String(24), default="unblocked")

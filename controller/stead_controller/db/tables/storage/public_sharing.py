"""Accounts' settings for the public sharing of images and snapshots."""

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base
from stead_controller.db.types import AccountId


class PublicSharing(Base):
    """One row per account that has ever set anything; the block state of each, in EC2's terms."""

    __tablename__ = "public_sharing"

    account_id: Mapped[str] = mapped_column(AccountId, primary_key=True)
    images: Mapped[str] = mapped_column(String(24), default="unblocked")
    snapshots: Mapped[str] = mapped_column(String(24), default="unblocked")

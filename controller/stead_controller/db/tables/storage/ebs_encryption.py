"""Accounts' settings for the encryption of their volumes."""

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base
from stead_controller.db.types import AccountId


class EbsEncryption(Base):
    """One row per account that has ever set anything; `default_key_id` is an ARN, or empty for the shared key."""

    __tablename__ = "ebs_encryption"

    account_id: Mapped[str] = mapped_column(AccountId, primary_key=True)
    by_default: Mapped[bool] = mapped_column(default=False)
    default_key_id: Mapped[str] = mapped_column(String(512), default="")

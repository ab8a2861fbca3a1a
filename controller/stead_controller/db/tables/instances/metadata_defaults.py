"""Accounts' defaults for the metadata service of their new instances."""

from sqlalchemy import Integer
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base
from stead_controller.db.types import AccountId


class MetadataDefaults(Base):
    """One row per account that has ever set anything; an empty column is no preference."""

    __tablename__ = "metadata_defaults"

    account_id: Mapped[str] = mapped_column(AccountId, primary_key=True)
    enabled: Mapped[bool | None]
    tokens_required: Mapped[bool | None]
    hop_limit: Mapped[int | None] = mapped_column(Integer)
    tags: Mapped[bool | None]
    tokens_enforced: Mapped[bool | None]

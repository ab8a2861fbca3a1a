"""Tags of any resource."""

from sqlalchemy import Index, String
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base
from stead_controller.db.types import AccountId, ResourceId


class Tag(Base):
    """One tag as seen by one account (two share a peering connection); the index serves `tag:Key=Value` filters."""

    __tablename__ = "tags"
    __table_args__ = (
        Index("ix_tags_account_id_resource_id", "account_id", "resource_id", "key", unique=True),
        Index("ix_tags_search", "account_id", "key", "value", "resource_id"),
    )

    resource_id: Mapped[str] = mapped_column(ResourceId, primary_key=True)
    key: Mapped[str] = mapped_column(String(128), primary_key=True)
    value: Mapped[str] = mapped_column(String(256))
    account_id: Mapped[str] = mapped_column(AccountId, primary_key=True)
    resource_type: Mapped[str] = mapped_column(String(64))

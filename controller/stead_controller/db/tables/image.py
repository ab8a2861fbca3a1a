"""Images (AMIs)."""

from datetime import datetime

from sqlalchemy import BigInteger, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base
from stead_controller.db.types import AccountId, ResourceId


class Image(Base):
    """A disk that instances boot from; its file is known by the id in the controller's image folder."""

    __tablename__ = "images"
    __table_args__ = (Index("ix_images_account_id_id", "account_id", "id"),)

    id: Mapped[str] = mapped_column(ResourceId, primary_key=True)
    account_id: Mapped[str] = mapped_column(AccountId)  # owner; CLOUD_ACCOUNT for the operator's
    name: Mapped[str] = mapped_column(String(128))
    description: Mapped[str] = mapped_column(String(255), default="")
    state: Mapped[str] = mapped_column(String(16))
    public: Mapped[bool] = mapped_column(default=False)
    architecture: Mapped[str] = mapped_column(String(16))
    boot_mode: Mapped[str] = mapped_column(String(16))
    root_device_name: Mapped[str] = mapped_column(String(32))
    snapshot_id: Mapped[str] = mapped_column(ResourceId)
    format: Mapped[str] = mapped_column(String(8))
    sha256: Mapped[str] = mapped_column(String(64))
    file_size: Mapped[int] = mapped_column(BigInteger)
    virtual_size: Mapped[int] = mapped_column(BigInteger)
    created: Mapped[datetime]

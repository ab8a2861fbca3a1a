"""Imports and exports requested through the API."""

from datetime import datetime

from sqlalchemy import Index, Integer, String, false
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base
from stead_controller.db.types import AccountId, ResourceId


class ImageTask(Base):
    """A file of the account's that is imported as an image or a snapshot, or an image that is exported to a file.

    `kind` is the resource type of its id. `location` is an object's key in the bucket, or a file's name in the exchange
    folder, which is the bucket `exchange`; for an export its prefix. `sealed_key` is the key of the snapshot of an
    encrypted import, sealed by the master key.
    """

    __tablename__ = "image_tasks"
    __table_args__ = (Index("ix_image_tasks_account_id_id", "account_id", "id", unique=True),)

    id: Mapped[str] = mapped_column(ResourceId, primary_key=True)
    account_id: Mapped[str] = mapped_column(AccountId)
    kind: Mapped[str] = mapped_column(String(32))
    state: Mapped[str] = mapped_column(String(16))  # active, completed, deleted (failed or cancelled)
    progress: Mapped[int] = mapped_column(Integer, default=0)  # percent
    status_message: Mapped[str] = mapped_column(String(512), default="")
    description: Mapped[str] = mapped_column(String(255), default="")
    format: Mapped[str] = mapped_column(String(8))
    bucket: Mapped[str] = mapped_column(String(63), default="exchange", server_default="exchange")
    location: Mapped[str] = mapped_column(String(1100))
    boot_mode: Mapped[str] = mapped_column(String(16), default="")
    architecture: Mapped[str] = mapped_column(String(16), default="x86_64", server_default="x86_64")
    image_id: Mapped[str | None] = mapped_column(ResourceId)
    snapshot_id: Mapped[str | None] = mapped_column(ResourceId)
    created: Mapped[datetime]
    encrypted: Mapped[bool] = mapped_column(default=False, server_default=false())
    kms_key_id: Mapped[str | None] = mapped_column(String(512))  # an ARN, not used by Stead
    sealed_key: Mapped[bytes | None]

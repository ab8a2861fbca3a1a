"""Images (AMIs)."""

from datetime import datetime

from sqlalchemy import BigInteger, Index, String, true
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base
from stead_controller.db.types import AccountId, ResourceId


class Image(Base):
    """What instances boot from; its disks are its block device mappings (`image_block_device.py`).

    For an image made of a file `snapshot_id` is the root disk's snapshot. `deregistration_protection` is
    EC2's value; `protected_until` ends a cool-down.
    """

    __tablename__ = "images"
    __table_args__ = (
        Index("ix_images_account_id_id", "account_id", "id", unique=True),
        Index("ix_images_public", "public", "id", unique=True),
    )

    id: Mapped[str] = mapped_column(ResourceId, primary_key=True)
    account_id: Mapped[str] = mapped_column(AccountId)  # owner; CLOUD_ACCOUNT for the operator's images
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
    state_reason: Mapped[str] = mapped_column(String(255), default="", server_default="")
    imds_support: Mapped[str] = mapped_column(String(8), default="", server_default="")
    ena_support: Mapped[bool] = mapped_column(default=True, server_default=true())
    sriov_net_support: Mapped[str] = mapped_column(String(8), default="simple", server_default="simple")
    tpm_support: Mapped[str] = mapped_column(String(8), default="", server_default="")
    uefi_data: Mapped[bytes | None]  # zlib of the variable store with which its instances begin
    deprecate_at: Mapped[datetime | None]
    deregistration_protection: Mapped[str] = mapped_column(String(32), default="disabled", server_default="disabled")
    protected_until: Mapped[datetime | None]
    source_image_id: Mapped[str | None] = mapped_column(ResourceId)
    source_instance_id: Mapped[str | None] = mapped_column(ResourceId)

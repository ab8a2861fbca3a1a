"""Replacements of instances' root volumes."""

from datetime import datetime

from sqlalchemy import Index, String, false
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base
from stead_controller.db.types import AccountId, ResourceId


class ReplaceRootVolumeTask(Base):
    """The replacement of an instance's root volume by another one; it is stored as long as the instance.

    `launch_snapshot_id` is the snapshot of the volume with which the instance was launched, or of the image that
    replaced it since. `former_image_id` is set where the task changes the instance's image.
    """

    __tablename__ = "replace_root_volume_tasks"
    __table_args__ = (
        Index("ix_replace_root_volume_tasks_instance_id", "instance_id"),
        Index("ix_replace_root_volume_tasks_account_id_id", "account_id", "id", unique=True),
    )

    id: Mapped[str] = mapped_column(ResourceId, primary_key=True)
    account_id: Mapped[str] = mapped_column(AccountId)
    instance_id: Mapped[str] = mapped_column(ResourceId)
    state: Mapped[str] = mapped_column(String(16))  # pending, in-progress, failing; succeeded, failed, failed-detached
    state_changed: Mapped[datetime]
    reason: Mapped[str] = mapped_column(String(512), default="")  # why it failed: EC2 has no word for it
    started: Mapped[datetime]
    completed: Mapped[datetime | None]
    old_volume_id: Mapped[str] = mapped_column(ResourceId)
    new_volume_id: Mapped[str] = mapped_column(ResourceId)
    is_own_volume: Mapped[bool] = mapped_column(default=False, server_default=false())  # the request named the new one
    delete_replaced: Mapped[bool] = mapped_column(default=False, server_default=false())
    snapshot_id: Mapped[str | None] = mapped_column(ResourceId)  # of which the new volume is made; NULL for an image's
    image_id: Mapped[str | None] = mapped_column(ResourceId)
    former_image_id: Mapped[str | None] = mapped_column(ResourceId)
    launch_snapshot_id: Mapped[str | None] = mapped_column(ResourceId)

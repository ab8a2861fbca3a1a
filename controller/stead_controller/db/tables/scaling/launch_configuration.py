"""Launch configurations, by which groups launch that have no launch template."""

from datetime import datetime

from sqlalchemy import String, Text
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base
from stead_controller.db.tables.scaling.scaling_group import GroupName, ScalingId
from stead_controller.db.types import AccountId


class LaunchConfiguration(Base):
    """A launch configuration, which never changes: `data` is its request as JSON, and `id` a part of its ARN."""

    __tablename__ = "launch_configurations"

    account_id: Mapped[str] = mapped_column(AccountId, primary_key=True)
    name: Mapped[str] = mapped_column(GroupName, primary_key=True)
    id: Mapped[str] = mapped_column(ScalingId)
    image_id: Mapped[str] = mapped_column(String(64))
    instance_type: Mapped[str] = mapped_column(String(32))
    data: Mapped[str] = mapped_column(Text)
    created: Mapped[datetime]
